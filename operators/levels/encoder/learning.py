"""The learning half of the encoder level: a head on embeddings, and top layers if asked for.

The head is useful after tens of labels; a fit of it needs no torch.
Fine-tuning the top layers is the slow part, done beside it by a `Tuning` where there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.levels.encoder.head import FloatArray, Head
from operators.levels.encoder.memory import Memory
from operators.levels.encoder.session import Encoder
from operators.levels.encoder.tuning import Tuning, batch_of
from operators.levels.encoder.weights import check, to_release
from operators.levels.port import Probabilities, Tensors, prefixed, under
from operators.settings import EncoderSettings

_LONGEST_ROUND = 16  # steps: what a round makes of the layers waits for all of them
_FEWEST_NEW = 8  # new examples for a fit of the head
_GROWTH = 0.03  # as a share of those that it was fitted to
_MOST_NEW = 256
_TURN = 1  # purpose of the draws of a turn, beside those of the examples


class EncoderLearner:
    """Learns an encoder level from the expert's answers.

    Parameters
    ----------
    labels
        Number of labels.
    seed
        Of every draw.
    tuning
        Of the top layers; None leaves them as the base model has them.
    """

    def __init__(
        self,
        settings: EncoderSettings,
        encoder: Encoder,
        labels: int,
        seed: int,
        tuning: Tuning | None = None,
    ) -> None:
        self._settings = settings
        self._encoder = encoder
        self._labels = labels
        self._tuning = tuning
        self._head = Head(encoder.dimension, labels, settings.l2, settings.parts)
        self._memory = Memory(
            encoder.dimension, labels, settings.buffer, seed, texts=tuning is not None
        )
        self._updates = 0
        self._fitted = 0  # examples at the last fit of the head
        self._turn_at = 0  # examples that had their steps with the last turn
        self._load_layers()

    def _load_layers(self) -> None:
        tuning = self._tuning
        self._layers = tuning.layers if tuning else self._encoder.artifact.trainable()
        self._bound = self._encoder.bind(self._layers)
        self._latest: tuple[tuple[str, ...], FloatArray] | None = None
        self._known: dict[str, FloatArray] = {}

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

    def predict_again(self, texts: Sequence[str]) -> Probabilities:
        """As `predict`; each text is embedded once for all calls that follow on one another."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, self._encoder.embed(new, self._bound), strict=True))
        self._known = {text: self._known[text] for text in texts}
        embeddings = np.array([self._known[text] for text in texts], np.float32)
        return self._head.predict(embeddings.reshape(len(texts), self._encoder.dimension))

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
        """Remember new examples; fit the head to all remembered ones when they have grown."""
        if not texts:
            return
        embeddings = self._embed(texts)
        for text, embedding, label in zip(texts, embeddings, labels, strict=True):
            self._memory.take_in(text, embedding, label)
        self._fit_head()
        self._updates += 1

    def _fit_head(self) -> None:
        """Fit when examples grew by a share: a fit costs as much as there are examples."""
        growth = min(max(_FEWEST_NEW, int(_GROWTH * self._fitted)), _MOST_NEW)
        if self._fitted and self._memory.seen - self._fitted < growth:
            return
        slots = np.arange(len(self._memory))
        examples, labels = self._memory.embeddings(slots), self._memory.labels(slots)
        self._head.fit(examples, labels, self._memory.weights())
        self._fitted = self._memory.seen

    def work_on(self, executor: Executor) -> None:
        """Have an executor, of one thread, make the gradient steps."""
        if self._tuning is not None:
            self._tuning.work_on(executor)

    @property
    def due(self) -> bool:
        """Whether there is a gradient step to be made, and the time for it."""
        return self._tuning is not None and self._steps_due() > 0 and self._tuning.rested

    def _steps_due(self) -> int:
        return min(self._since_turn() // self._settings.finetune.every, _LONGEST_ROUND)

    def _since_turn(self) -> int:
        return self._memory.seen - self._turn_at

    def turn(self) -> None:
        """Take over what the last round of gradient steps made, and begin the next."""
        if self._tuning is None:
            return
        for batch, embeddings in self._tuning.collect():
            self._memory.refresh(batch.slots, batch.texts, embeddings)
        self._load_layers()
        shape = (self._steps_due(), self._settings.finetune.batch)
        drawn = self._memory.evenly(shape, self._memory.random(_TURN))
        batches = [
            batch_of(slots, self._memory.texts(slots), self._memory.labels(slots))
            for slots in drawn
        ]
        self._turn_at = self._memory.seen - self._since_turn() % self._settings.finetune.every
        if batches:
            self._tuning.begin(batches, self._head.tensors())

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
        self._fitted = 0
        self._turn_at = 0
        if self._tuning is not None:
            self._tuning.adopt(layers)
        self._load_layers()

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Head, memory, layers, optimizers, and what a round under way was given."""
        state = prefixed("head", self._head.snapshot()) | prefixed(
            "memory", self._memory.snapshot()
        )
        if self._tuning is not None:
            state |= prefixed("tuning", self._tuning.snapshot())
        state["counts"] = np.array([self._updates, self._fitted, self._turn_at], np.int64)
        return state

    def restore(self, snapshot: Tensors) -> None:
        """Become the learner that `snapshot` describes."""
        self._head.restore(under("head", snapshot))
        self._memory.restore(under("memory", snapshot))
        if self._tuning is not None:
            self._tuning.restore(under("tuning", snapshot))
        self._updates, self._fitted, self._turn_at = map(int, snapshot["counts"])
        self._load_layers()
