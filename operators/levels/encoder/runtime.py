"""Which ONNX Runtime is installed: its builds share one module, so there must be one alone."""

from __future__ import annotations

from functools import partial
from importlib.metadata import PackageNotFoundError, distribution

import onnxruntime
from onnx import TensorProto, helper

from operators.levels.encoder.errors import EncoderUnavailable

_BUILDS = ("onnxruntime", "onnxruntime-gpu")
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_OPSET, _IR_VERSION = 17, 8  # as old as all that serves here
_FATAL = 4


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


def provider_that_starts() -> str:
    """The execution provider that ONNX Runtime ends up with here if it may use CUDA.

    Asked which are available, it names those that it was built with, whatever the machine has.
    """
    value = partial(helper.make_tensor_value_info, elem_type=TensorProto.FLOAT, shape=[1])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "probe", [value("x")], [value("y")]
    )
    opset = helper.make_opsetid("", _OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL  # that CUDA does not start is the answer, no error
    session = onnxruntime.InferenceSession(
        model.SerializeToString(),
        options,
        providers=[CUDA, CPU] if CUDA in onnxruntime.get_available_providers() else [CPU],
    )
    name: str = session.get_providers()[0]
    return name


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
