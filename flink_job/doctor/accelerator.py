"""ONNX Runtime, and whether it can use a GPU."""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, version

from flink_job.doctor.diagnosis import Diagnosis, bad, ok, warning
from flink_job.settings import JobSettings
from operators.settings import EncoderSettings

_WHAT = "onnxruntime"
_BUILDS = ("onnxruntime", "onnxruntime-gpu")
_ONE = "pip uninstall -y onnxruntime onnxruntime-gpu, then install the extra `cpu` or `gpu`"


def onnx_runtime(job: JobSettings | None) -> Diagnosis:
    """Which build is installed, and what it runs on."""
    installed = {name: found for name in _BUILDS if (found := _version(name))}
    if not installed:
        return bad(_WHAT, "neither onnxruntime nor onnxruntime-gpu is installed", _ONE)
    if len(installed) > 1:
        return bad(_WHAT, "both builds are installed, over each other", _ONE)
    ((name, number),) = installed.items()
    # Not before: with both of them installed, the import is a matter of luck.
    from operators.levels.encoder.runtime import CUDA, provider_that_starts

    provider = provider_that_starts()
    detail = f"{name} {number}, runs on {provider}"
    if provider == CUDA:
        return ok(_WHAT, detail)
    levels = job.levels if job else ()
    demanding = [
        level.name
        for level in levels
        if isinstance(level, EncoderSettings) and level.device == "cuda"
    ]
    if demanding:
        fix = "install the extra `gpu` on a machine with CUDA and cuDNN, or set `device: auto`"
        return bad(_WHAT, f"{detail}, but {', '.join(demanding)} asks for CUDA", fix)
    if name == "onnxruntime-gpu":
        fix = "install a driver, CUDA and cuDNN for it, or take the extra `cpu`"
        return warning(_WHAT, f"{detail}: CUDA does not start here", fix)
    if shutil.which("nvidia-smi"):
        fix = "to use it, pip uninstall onnxruntime and install the extra `gpu`"
        return warning(_WHAT, f"{detail}, and there is a GPU in this machine", fix)
    return ok(_WHAT, detail)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
