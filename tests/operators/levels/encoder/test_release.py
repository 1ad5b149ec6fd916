"""What of an encoder goes into the store with a release: only what has changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from model_store.memory import MemoryBackend
from model_store.store import ModelStore
from operators.assembly import build_trainer
from operators.core.trainer import Trainer
from operators.settings import EncoderSettings, TopLayers
from tests.operators.fakes import Later
from tests.operators.levels.checks import annotate, toy_stream
from tests.operators.test_assembly import written as job_of

TASK = "tone"


class Counting(MemoryBackend):
    """Remembers what was uploaded."""

    def __init__(self) -> None:
        super().__init__()
        self.uploaded: set[str] = set()

    def put_blob(self, task: str, sha256: str, blob: bytes) -> None:
        self.uploaded.add(sha256)
        super().put_blob(task, sha256, blob)


class World:
    """A trainer whose gradient steps are made when they are told to, and its store."""

    def __init__(self, encoder: EncoderSettings) -> None:
        self.later = Later()
        self.trainer: Trainer = build_trainer(
            job_of(levels=[encoder.model_dump()], budget={"share": 0.1}), executor=self.later
        )
        self.backend = Counting()
        self.store = ModelStore(self.backend, now=lambda: datetime(2025, 1, 1, tzinfo=UTC))
        self.parent: str | None = None

    def publish(self) -> set[str]:
        """Names of the tensors that were uploaded for a release."""
        self.backend.uploaded.clear()
        tensors = self.trainer.tensors()
        made = self.store.publish(TASK, tensors, parent=self.parent, stats={})
        self.parent = made.release
        return {name for name, ref in made.tensors.items() if ref.sha256 in self.backend.uploaded}

    def learn(self, count: int) -> None:
        self.trainer.learn(annotate(toy_stream(count)), count)


@pytest.mark.parametrize("top_layers", [0, 1, "all"])
def test_a_release_carries_only_tensors_that_changed(
    written: Callable[..., EncoderSettings], top_layers: TopLayers
) -> None:
    finetune = {"rate": 0.001, "every": 4, "time_share": 1.0}
    world = World(written(top_layers=top_layers, finetune=finetune))
    layers = {name for name in world.trainer.tensors() if "/layers/" in name}
    assert bool(layers) is (top_layers != 0)
    assert layers <= world.publish()
    world.learn(8)  # begins a round where there are layers
    head = {"encoder/head/weights", "encoder/head/bias"}
    assert {name for name in world.publish() if name.startswith("encoder/")} == head
    world.later.work()
    world.learn(8)  # takes it over
    uploaded = world.publish()
    assert head <= uploaded
    # Without a gradient: the softmax takes no notice of it.
    assert layers - uploaded <= {name for name in layers if "key.bias" in name}
    world.learn(1)
    assert not layers & world.publish()
