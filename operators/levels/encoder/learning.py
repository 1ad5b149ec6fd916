"""The learning half of the encoder level: a head on embeddings, and top layers if asked for.

The head is useful after tens of labels and costs microseconds; it needs no torch. Fine-tuning the
top layers is the slow part, done by a `LayerTuner` where there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from operators.levels.encoder.head import FloatArray, Head
from operators.levels.encoder.memory import IntArray, Memory, Placed
from operators.levels.encoder.session import Encoder
from operators.levels.encoder.weights import check, to_release
from operators.levels.port import Probabilities, Tensors, prefixed, under
from operators.settings import EncoderSettings


class LayerTuner(Protocol):
    """Fine-tunes an encoder's top layers."""

    def due(self, annotations: int) -> bool:
        """Whether a gradient step is to be made now, after so many annotations."""

    def step(self, texts: Sequence[str], labels: IntArray, head: Tensors) -> FloatArray:
        """Take a gradient step under this head.

        Returns
        -------
        The embeddings of the texts before the step, shape (texts, dimension).
        """

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """The layers in the graph's layout."""

    def adopt(self, tensors: Tensors) -> None:
        """Go on from these layers, in the graph's layout, with a fresh optimizer."""

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Layers and optimizer."""

    def restore(self, snapshot: Tensors) -> None:
        """Become what `snapshot` described."""


class EncoderLearner:
    """Learns an encoder level from the expert's answers.

    Parameters
    ----------
    labels
        Number of labels.
    seed
        Of every draw.
    tuner
        Of the top layers; None leaves them as the base model has them.
    """

    def __init__(
        self,
        settings: EncoderSettings,
        encoder: Encoder,
        labels: int,
        seed: int,
        tuner: LayerTuner | None = None,
    ) -> None:
        self._settings = settings
        self._encoder = encoder
        self._labels = labels
        self._tuner = tuner
        self._head = Head(encoder.dimension, labels, settings.rate, settings.l2)
        self._memory = Memory(encoder.dimension, settings.buffer, seed, texts=tuner is not None)
        self._updates = 0
        self._load_layers()

    def _load_layers(self) -> None:
        self._layers = self._tuner.tensors() if self._tuner else self._encoder.artifact.trainable()
        self._bound = self._encoder.bind(self._layers)
        self._latest: tuple[tuple[str, ...], FloatArray] | None = None

    @property
    def name(self) -> str:
        """Name of the level that this teaches."""
        return self._settings.name

    @property
    def updates(self) -> int:
        """Calls of `learn` so far."""
        return self._updates

    def predict(self, texts: Sequence[str]) -> Probabilities:
        """Label probabilities under the weights of this moment."""
        return self._head.predict(self._embed(texts))

    def _embed(self, texts: Sequence[str]) -> FloatArray:
        """Embeddings; those of the last call are remembered, since what is judged is then learned.

        Only for exactly the same texts: an embedding's last bits depend on the batch, and learning
        must be the same after a restore.
        """
        asked = tuple(texts)
        if self._latest is None or self._latest[0] != asked:
            self._latest = asked, self._encoder.embed(texts, self._bound)
        return self._latest[1]

    def learn(self, texts: Sequence[str], labels: Sequence[int]) -> None:
        """Take steps for each new example on it and on remembered ones."""
        if not texts:
            return
        embeddings = self._embed(texts)
        for text, embedding, label in zip(texts, embeddings, labels, strict=True):
            placed = self._memory.take_in(text, embedding, label)
            self._teach_head(placed, embedding, label)
            self._teach_layers(placed)
        self._updates += 1

    def _teach_head(self, placed: Placed, embedding: FloatArray, label: int) -> None:
        chosen = self._settings
        drawn = placed.random.integers(len(self._memory), size=(chosen.steps, chosen.step_size))
        for number, slots in enumerate(drawn):
            inputs, targets = self._memory.embeddings(slots), self._memory.labels(slots)
            if number == 0:  # the new one is learned for certain
                inputs[0], targets[0] = embedding, label
            self._head.step(inputs, targets)

    def _teach_layers(self, placed: Placed) -> None:
        if self._tuner is None or not self._tuner.due(self._memory.seen):
            return
        slots = self._memory.evenly(self._settings.finetune.batch, placed.random)
        texts, labels = self._memory.texts(slots), self._memory.labels(slots)
        if self._settings.precision == "fp32":
            embeddings = self._tuner.step(texts, labels, self._head.tensors())
        else:  # torch's are not those that the served graph has
            embeddings = self._encoder.embed(texts, self._bound)
            self._tuner.step(texts, labels, self._head.tensors())
        self._memory.refresh(slots, embeddings)
        self._load_layers()

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Tensors of the head and of the top layers; see `operators.levels.encoder.weights`."""
        layers = {name: array.copy() for name, array in self._layers.items()}
        return to_release(self._head.tensors(), layers)

    def adopt(self, tensors: Tensors) -> None:
        """Go on from published weights, with fresh optimizers and an empty memory.

        Raises
        ------
        model_store.errors.TensorMismatch
            If they do not fit; the learner stays what it was.
        """
        head, layers = check(tensors, self._encoder.artifact.meta, self._labels)
        self._head.adopt(head)
        self._memory.forget()
        if self._tuner is not None:
            self._tuner.adopt(layers)
        self._load_layers()

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Head, memory, layers and optimizers."""
        state = prefixed("head", self._head.snapshot()) | prefixed(
            "memory", self._memory.snapshot()
        )
        if self._tuner is not None:
            state |= prefixed("tuner", self._tuner.snapshot())
        state["updates"] = np.array([self._updates], np.int64)
        return state

    def restore(self, snapshot: Tensors) -> None:
        """Become the learner that `snapshot` describes."""
        self._head.restore(under("head", snapshot))
        self._memory.restore(under("memory", snapshot))
        if self._tuner is not None:
            self._tuner.restore(under("tuner", snapshot))
        self._updates = int(snapshot["updates"][0])
        self._load_layers()
