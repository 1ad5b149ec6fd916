from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flink_job.doctor import State, accelerator
from flink_job.settings import JobSettings
from operators.levels.encoder import runtime
from operators.settings import EncoderSettings


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Sets which builds are installed, what they run on, and whether there is a GPU."""

    def builds(*installed: str, provider: str = runtime.CPU, gpu: bool = False) -> None:
        monkeypatch.setattr(accelerator, "_version", lambda n: "1.0" if n in installed else None)
        monkeypatch.setattr(runtime, "provider_that_starts", lambda: provider)
        monkeypatch.setenv("PATH", str(tmp_path))
        if gpu:
            (tmp_path / "nvidia-smi").touch(mode=0o755)

    return builds


def test_what_is_installed_here_runs() -> None:
    assert runtime.provider_that_starts() in (runtime.CPU, runtime.CUDA)
    assert accelerator.onnx_runtime(None).state is not State.BAD


def test_neither_or_both_builds(pretend: Callable[..., None]) -> None:
    for installed in ((), ("onnxruntime", "onnxruntime-gpu")):
        pretend(*installed)
        found = accelerator.onnx_runtime(None)
        assert found.state is State.BAD
        assert "never both" in found.fix or "extra `cpu` or `gpu`" in found.fix


def test_a_gpu_build_that_falls_back(pretend: Callable[..., None]) -> None:
    pretend("onnxruntime-gpu")
    found = accelerator.onnx_runtime(None)
    assert (found.state, "does not start" in found.detail) == (State.WARNING, True)
    pretend("onnxruntime-gpu", provider=runtime.CUDA)
    assert accelerator.onnx_runtime(None).state is State.OK


def test_a_gpu_that_nobody_uses(pretend: Callable[..., None]) -> None:
    pretend("onnxruntime")
    assert accelerator.onnx_runtime(None).state is State.OK
    pretend("onnxruntime", gpu=True)
    assert accelerator.onnx_runtime(None).state is State.WARNING


def test_a_level_that_asks_for_cuda_in_vain(
    pretend: Callable[..., None], make_job: Callable[..., JobSettings]
) -> None:
    encoder = EncoderSettings(kind="encoder", model="m", device="cuda")
    job = make_job().model_copy(update={"levels": (encoder,)})
    pretend("onnxruntime")
    found = accelerator.onnx_runtime(job)
    assert (found.state, "encoder asks for CUDA" in found.detail) == (State.BAD, True)
    pretend("onnxruntime-gpu", provider=runtime.CUDA)
    assert accelerator.onnx_runtime(job).state is State.OK
