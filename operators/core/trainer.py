"""Imitation learning: the small levels and the policy learn from the expert's annotations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import compress
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from safetensors import numpy as safetensors

from model_store.errors import TensorMismatch
from model_store.manifest import Release
from operators.audit.evidence import Evidence
from operators.core.gate import Ruling, Scores, quadratic
from operators.core.holdout import Holdout
from operators.levels.asking import Opinions, ask
from operators.levels.port import Learner, SlowLearner, Tensors, prefixed, under
from operators.policy.port import PREFIX, PolicyLearner
from operators.records import Annotation, Audit

SNAPSHOT_VERSION = 4
_RECENT = 200  # annotations over which a level's agreement is averaged, exponentially


class Counts(msgspec.Struct):
    """What the trainer counts."""

    version: int = SNAPSHOT_VERSION
    annotations: int = 0
    settled: int = 0
    agreement: dict[str, float] = {}


class Trainer:
    """Teaches the small levels and the deferral policy.

    Parameters
    ----------
    learners
        Of the small levels, cheapest first.
    policy
        Of the deferral policy.
    evidence
        What audits have proved; None where there are none.
    slow
        Those of the learners that also learn in the background.
    holdout
        Annotations that are held out; None to learn each at once.

    Notes
    -----
    Deterministic: the same lessons in the same chunks, with the same `turns`, give the same
    weights, so a restored snapshot followed by the lessons after it is the trainer that never
    stopped.
    """

    def __init__(
        self,
        learners: Sequence[Learner],
        policy: PolicyLearner,
        evidence: Evidence | None = None,
        slow: Sequence[SlowLearner] = (),
        holdout: Holdout | None = None,
    ) -> None:
        self._learners = learners
        self._policy = policy
        self._evidence = evidence
        self._slow = slow
        self.turns: tuple[str, ...] = ()
        """Levels that the last lesson gave a turn to learn in the background."""
        self._holdout = holdout
        self._counts = Counts()
        self.left_out = Counter[str]()
        """Annotations on whose text a level failed, by its name: it did not learn them."""

    @property
    def annotations(self) -> int:
        """Annotations learned so far."""
        return self._counts.annotations

    @property
    def settled(self) -> int:
        """Verdicts consumed so far, those without a label included."""
        return self._counts.settled

    @property
    def agreement(self) -> Mapping[str, float]:
        """Each level's agreement with the expert over the last annotations, before learning."""
        return self._counts.agreement

    @property
    def evidence(self) -> Evidence | None:
        """What audits have proved so far; None where there are none."""
        return self._evidence

    @property
    def disagreeing(self) -> int:
        """Audits that the expert did not confirm."""
        return self._evidence.disagreeing if self._evidence else 0

    def learn(
        self,
        annotations: Sequence[Annotation],
        settled: int,
        audits: Sequence[Audit] = (),
        turns: Collection[str] | None = None,
    ) -> None:
        """Learn from the annotations of a chunk of `settled` verdicts.

        Every level is judged on what it would have said before it learns the answer, and the
        policy learns from that. A level leaves out what it fails to say something about.

        Parameters
        ----------
        turns
            What `turns` said when this lesson was learned before; None if it never was.
        """
        self.turns = ()
        self._counts.settled += settled
        if self._evidence is not None:
            self._evidence.take(audits)
        if self._holdout is not None:
            annotations = self._holdout.admit(annotations)
        if not annotations:
            return
        texts = [annotation.text for annotation in annotations]
        labels = np.array([annotation.label for annotation in annotations], np.intp)
        propensity = np.array([annotation.propensity for annotation in annotations])
        opinions = [ask(learner.name, learner.predict, texts) for learner in self._learners]
        self._teach_policy(opinions, labels, propensity)
        for learner, own in zip(self._learners, opinions, strict=True):
            self._judge(learner.name, (own.probabilities.argmax(axis=1) == labels)[own.given])
            learner.learn(list(compress(texts, own.given)), labels[own.given].tolist())
            self.left_out[learner.name] += own.missing
        self._counts.annotations += len(annotations)
        self._give_turns(turns)

    def _teach_policy(
        self,
        opinions: Sequence[Opinions],
        labels: npt.NDArray[np.intp],
        propensity: npt.NDArray[np.float64],
    ) -> None:
        """Only what all levels have an opinion of tells how far to trust each."""
        complete = np.all([own.given for own in opinions], axis=0)
        if complete.any():
            said = [own.probabilities[complete] for own in opinions]
            self._policy.learn(said, labels[complete], propensity[complete])

    def _give_turns(self, before: Collection[str] | None) -> None:
        ready = [
            learner
            for learner in self._slow
            if (learner.due if before is None else learner.name in before)
        ]
        for learner in ready:
            learner.turn()
        self.turns = tuple(learner.name for learner in ready)

    def _judge(self, level: str, right: npt.NDArray[np.bool_]) -> None:
        mean = self._counts.agreement.get(level, 0.0)
        for seen, hit in enumerate(right, start=self._counts.annotations + 1):
            mean += (float(hit) - mean) / min(seen, _RECENT)
        self._counts.agreement[level] = mean

    def rule(self) -> Ruling | None:
        """Hold the weights of this moment against the release that serves.

        Returns
        -------
        None where nothing can be told.
        """
        return None if self._holdout is None else self._holdout.rule(self._scores(self._holdout))

    def serve(self) -> None:
        """Take note that the weights of this moment serve from now on."""
        if self._holdout is not None:
            self._holdout.serve(self._scores(self._holdout))

    def compare_with(self, release: Release) -> None:
        """Take note that this release serves, and go on learning from the own weights.

        Raises
        ------
        model_store.errors.TensorMismatch
            If it was made for other levels or another policy.
        """
        if not self._holdout:
            return
        before = self.snapshot()
        self.adopt(release)
        scores = self._scores(self._holdout)
        self.restore(before)
        self._holdout.serve(scores)

    def _scores(self, holdout: Holdout) -> Scores:
        texts = holdout.texts
        if not texts:
            return np.empty(0)
        said = [
            ask(learner.name, learner.predict_again, texts).probabilities
            for learner in self._learners
        ]
        return quadratic(self._policy.together(said), holdout.labels)

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """The weights of all levels and of the policy, to publish."""
        weights = prefixed(
            PREFIX, self._policy.tensors([learner.updates for learner in self._learners])
        )
        for learner in self._learners:
            weights |= prefixed(learner.name, learner.tensors())
        return weights

    def stats(self) -> dict[str, float | int | str]:
        """Facts about the weights, for the manifest.

        ``agreement.<level>`` is measured on annotated events, before learning from them: on the
        hard ones, so it understates what the level would get on the stream.
        """
        return {
            "annotations": self._counts.annotations,
            "settled": self._counts.settled,
            **{f"agreement.{k}": round(v, 4) for k, v in self._counts.agreement.items()},
        }

    def adopt(self, release: Release) -> None:
        """Go on from a release: after a rollback, or where another job has stopped.

        Its count of annotations comes with its weights: it says what they were learned from.

        Raises
        ------
        model_store.errors.TensorMismatch
            If it was made for other levels or another policy; nothing has changed then.
        """
        before = self.snapshot()
        try:
            for learner in self._learners:
                learner.adopt(under(learner.name, release.tensors))
            self._policy.adopt(under(PREFIX, release.tensors))
        except TensorMismatch:
            self.restore(before)
            raise
        known = release.manifest.stats.get("annotations")
        if isinstance(known, int) and known >= 0:
            self._counts.annotations = known
        self.serve()

    def snapshot(self) -> bytes:
        """Everything that learning depends on, as safetensors bytes."""
        state = prefixed(PREFIX, self._policy.snapshot())
        for learner in self._learners:
            state |= prefixed(learner.name, learner.snapshot())
        counts = msgspec.json.encode(self._counts)
        state["counts"] = np.frombuffer(counts, np.uint8)
        if self._evidence is not None:
            state["evidence"] = np.frombuffer(self._evidence.snapshot(), np.uint8)
        if self._holdout is not None:
            state["holdout"] = np.frombuffer(self._holdout.snapshot(), np.uint8)
        return safetensors.save({k: np.ascontiguousarray(v) for k, v in state.items()})

    def restore(self, snapshot: bytes) -> None:
        """Become the trainer that `snapshot` describes.

        Raises
        ------
        ValueError
            If it was written by a version with another layout, or for other levels.
        """
        state: Tensors = safetensors.load(snapshot)
        counts = msgspec.json.decode(state["counts"].tobytes(), type=Counts)
        if counts.version != SNAPSHOT_VERSION:
            message = (
                f"the trainer's state has version {counts.version}, not {SNAPSHOT_VERSION}: "
                "restore it with the release of this software that wrote it"
            )
            raise ValueError(message)
        for learner in self._learners:
            try:
                learner.restore(under(learner.name, state))
            except TensorMismatch as error:
                message = (
                    f"the trainer's state does not fit level {learner.name!r} (tensor "
                    f"{error.name!r}): restore it with the level's settings and the task's "
                    "labels as they were when it was written, or start without it"
                )
                raise ValueError(message) from error
        self._policy.restore(under(PREFIX, state))
        if self._evidence is not None and "evidence" in state:
            self._evidence.restore(state["evidence"].tobytes())
        if self._holdout is not None and "holdout" in state:
            self._holdout.restore(state["holdout"].tobytes())
        self._counts = counts
