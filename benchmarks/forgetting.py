"""Measures what an encoder level forgets when the labels of a stream shift, and a rare label's F1.

    python -m benchmarks.forgetting DATA_FOLDER MODEL [--layers 0] [--seeds 3] [--cache FOLDER]

MODEL is the folder of a base model, DATA_FOLDER that of recorded.py. The level alone learns the
expert's recorded answers, and is held against them on rows that it did not learn.

- isear, in blocks: 500 labels of four emotions, then 500 of the other three. Agreement on the first
  four before and after the second block, and on the other three behind it; the last two columns
  are those of one that learns the same rows in a mixed order, and so has nothing to forget.
- hatespeech, 2000 labels, of which `yes`, one in four to the expert, is thinned to one in twenty:
  recall, precision and F1 of `yes` on rows that are thinned alike.

Compared are the level's own memory, large and small, a plain uniform sample as small, and the
latest 16 labels alone, which is learning without replay.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt

from benchmarks.encoder_runs import arguments, encoder, remembered
from benchmarks.real_runs import spread
from benchmarks.recorded import named, read
from operators.levels.encoder import learning
from operators.levels.encoder.build import encoder_learner
from operators.levels.encoder.learning import EncoderLearner
from operators.levels.encoder.memory import IntArray, Memory
from operators.settings import EncoderSettings

ISEAR, HATESPEECH = named(["isear", "hatespeech"])
OLD = frozenset({"anger", "disgust", "fear", "guilt"})  # the emotions of the first block
BLOCK, HELD_OUT = 500, 800  # rows of isear
COMMON, RARE, LEARNED = 3800, 200, 2000  # rows of hatespeech
LESSON = 16
LARGE, SMALL = 8192, 128
Row = tuple[str, int]


class Uniform(Memory):
    """Each example of the stream is held with the same probability."""

    def _slot_for(self, label: int, random: np.random.Generator) -> int | None:
        if len(self) < self._capacity:
            return len(self)
        slot = int(random.integers(self.seen + 1))
        return slot if slot < self._capacity else None

    def weights(self) -> npt.NDArray[np.float64]:
        """Each stands for as many as any other."""
        return np.ones(len(self))


class Latest(Uniform):
    """The latest examples alone."""

    def _slot_for(self, label: int, random: np.random.Generator) -> int | None:
        return self.seen % self._capacity


MEMORIES: dict[str, tuple[type[Memory], int]] = {
    f"its own, of {LARGE}": (Memory, LARGE),
    f"its own, of {SMALL}": (Memory, SMALL),
    f"uniform sample of {SMALL}": (Uniform, SMALL),
    f"latest {LESSON}": (Latest, LESSON),
}


def learner(settings: EncoderSettings, labels: Sequence[str], seed: int) -> EncoderLearner:
    """One that knows nothing, and has all the time that its steps take."""
    return encoder_learner(settings, len(labels), seed, lambda: 0.0)


def teach(student: EncoderLearner, rows: Sequence[Row]) -> None:
    """Have it learn rows in lessons, with a turn behind each that makes it due."""
    for start in range(0, len(rows), LESSON):
        texts, labels = zip(*rows[start : start + LESSON], strict=True)
        student.learn(texts, labels)
        if student.due:
            student.turn()


def answers(student: EncoderLearner, rows: Sequence[Row]) -> tuple[IntArray, IntArray]:
    """What it says of rows, and what the expert said."""
    says = student.predict([text for text, _ in rows]).argmax(axis=1)
    return says, np.array([label for _, label in rows])


def agreement(student: EncoderLearner, rows: Sequence[Row]) -> float:
    """Share of rows on which it says what the expert said, in percent."""
    says, truth = answers(student, rows)
    return float(100 * np.mean(says == truth))


def blocks(folder: Path, seed: int, settings: EncoderSettings) -> list[float]:
    """Agreement on old labels before the shift; then on old and new ones, in blocks and mixed."""
    learned: dict[bool, list[Row]] = {True: [], False: []}
    held_out: dict[bool, list[Row]] = {True: [], False: []}
    for number, row in enumerate(read(folder, ISEAR, seed)):
        old, label = row["expert"] in OLD, ISEAR.labels.index(row["expert"])
        (held_out if number < HELD_OUT else learned)[old].append((row["text"], label))
    one, other = learned[True][:BLOCK], learned[False][:BLOCK]
    shifted, steady = (learner(settings, ISEAR.labels, seed) for _ in range(2))
    teach(shifted, one)
    before = agreement(shifted, held_out[True])
    teach(shifted, other)
    mixed = one + other
    random.Random(seed).shuffle(mixed)
    teach(steady, mixed)
    after = [agreement(s, held_out[old]) for s in (shifted, steady) for old in (True, False)]
    return [before, *after]


def imbalance(folder: Path, seed: int, settings: EncoderSettings) -> list[float]:
    """Recall, precision and F1 of the rare label, in percent."""
    yes = HATESPEECH.labels.index("yes")
    rows = [
        (row["text"], HATESPEECH.labels.index(row["expert"]))
        for row in read(folder, HATESPEECH, seed)
    ]
    common, rare = ([row for row in rows if (row[1] == yes) is wanted] for wanted in (False, True))
    mixed = common[:COMMON] + rare[:RARE]
    random.Random(seed).shuffle(mixed)
    student = learner(settings, HATESPEECH.labels, seed)
    teach(student, mixed[:LEARNED])
    says, truth = answers(student, mixed[LEARNED:])
    hits = np.sum((says == yes) & (truth == yes))
    claimed, true = np.sum(says == yes), np.sum(truth == yes)
    shares = hits / true, hits / max(1, claimed), 2 * hits / (claimed + true)
    return [float(100 * share) for share in shares]


STUDIES = {
    "isear, in blocks": (
        ISEAR,
        blocks,
        ("old labels before", "old after", "new after", "old, mixed", "new, mixed"),
    ),
    "hatespeech, 5 % `yes`": (HATESPEECH, imbalance, ("recall of `yes`", "precision", "F1")),
}


def settings_of(options: argparse.Namespace, layers: int, buffer: int) -> EncoderSettings:
    """Of a level of texts as short as those of both sets."""
    changes: dict[str, Any] = {"finetune": {"time_share": 1.0}}
    level = encoder(ISEAR, options.model, top_layers=layers, buffer=buffer, **changes)
    return EncoderSettings.model_validate(level)


def main() -> None:
    """Run everything and print Markdown."""
    parser = arguments(__doc__)
    parser.set_defaults(seeds=3)
    parser.add_argument("--layers", nargs="+", type=int, default=[0])
    options = parser.parse_args()
    for title, (data, study, columns) in STUDIES.items():
        print(f"\n| {title} | memory |", " | ".join(columns), "|")
        print("|---" * (len(columns) + 2) + "|", flush=True)
        with remembered(data, options):
            for layers in options.layers:
                for name, (kind, buffer) in MEMORIES.items():
                    settings = settings_of(options, layers, buffer)
                    with mock.patch.object(learning, "Memory", kind):
                        runs = [study(options.data, s, settings) for s in range(options.seeds)]
                    cells = [spread(values) for values in zip(*runs, strict=True)]
                    tuned = f"{layers} tuned" if layers else "frozen"
                    print(f"| {tuned} | {name} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
