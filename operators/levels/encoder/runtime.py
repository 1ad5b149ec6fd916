"""Which ONNX Runtime is installed: its builds share one module, so there must be one alone."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution

from operators.levels.encoder.errors import EncoderUnavailable

_BUILDS = ("onnxruntime", "onnxruntime-gpu")


def check_builds() -> None:
    """See to it that not both builds of ONNX Runtime are installed.

    They overwrite each other's files: which one runs, and whether it sees the GPU, is chance.

    Raises
    ------
    EncoderUnavailable
        If they are.
    """
    if all(_installed(name) for name in _BUILDS):
        raise EncoderUnavailable(
            f"{' and '.join(_BUILDS)} are both installed, over each other.",
            "pip uninstall both, then install the extra `cpu` or `gpu`, never both.",
        )


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
