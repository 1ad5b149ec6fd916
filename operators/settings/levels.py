"""The small levels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from operators.settings.base import Name, Section


class FeatureSettings(Section):
    """Hashed n-grams of the linear level."""

    words: Annotated[int, Field(ge=1, le=4)] = 2
    """Longest word n-gram."""
    characters: tuple[PositiveInt, PositiveInt] | None = (3, 5)
    """Shortest and longest character n-gram, or null for none. They pay on short texts."""
    bits: Annotated[int, Field(ge=8, le=24)] = 20
    """The table has 2 ** bits features."""
    max_chars: Annotated[int, Field(ge=16, le=1_000_000)] = 20_000
    """Characters of a text that are read; the rest is cut off."""

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.characters and not 1 <= self.characters[0] <= self.characters[1] <= 8:
            message = "characters must be [shortest, longest] with 1 <= shortest <= longest <= 8"
            raise ValueError(message)
        return self


class LinearSettings(Section):
    """A logistic regression on hashed n-grams, learned online."""

    kind: Literal["linear"] = "linear"
    name: Name = "linear"
    cost: Annotated[float, Field(gt=0)] = 1.0
    """Cost of asking this level, in the unit of Table 3; only `policy: paper` reads it."""
    features: FeatureSettings = FeatureSettings()
    optimizer: Literal["adagrad", "ogd"] = "adagrad"
    """`ogd` is the paper's online gradient descent with a step of rate / sqrt(t)."""
    rate: Annotated[float, Field(gt=0, le=100)] = 0.5
    """Learning rate."""
    l2: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Weight decay on the weights that a step touches."""
    replay: Annotated[int, Field(ge=0, le=64)] = 4
    """Earlier examples that are learned again with each new one, drawn at random."""
    buffer: Annotated[int, Field(ge=1, le=100_000)] = 2048
    """Examples kept for replay (a uniform sample of all)."""


TopLayers = Annotated[int, Field(ge=0, le=48)] | Literal["all"]
Pooling = Literal["last", "inner_and_last"]


class FinetuneSettings(Section):
    """Online fine-tuning of an encoder's top layers from the remembered examples."""

    rate: Annotated[float, Field(gt=0, le=0.1)] = 1e-4
    """Learning rate of the layers (AdamW). Five times as much forgets more than it learns."""
    decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Decoupled weight decay of the layers."""
    batch: Annotated[int, Field(ge=1, le=256)] = 8
    """Examples in one gradient step, drawn evenly over the labels."""
    every: Annotated[int, Field(ge=1, le=10_000)] = 4
    """New annotations for one gradient step. They are made a few at a time, in the background."""
    time_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the time that gradient steps may take. Steps that do not fit are left out, so that
    labels are taken in and releases go out at the stream's pace."""


class EncoderSettings(Section):
    """A BERT-like encoder with mean pooling and a linear head, learned online."""

    kind: Literal["encoder"]
    name: Name = "encoder"
    model: Annotated[str, Field(min_length=1)]
    """Folder of a plain encoder (config.json, model.safetensors, tokenizer.json), or its id on the
    Hugging Face hub. Exported to ONNX once, then read from `cache`."""
    revision: str | None = None
    """Commit or tag of a hub model. Pin it: a branch can move under a running job."""
    cache: Path | None = None
    """Folder for exported graphs; null takes ~/.cache/flink-online-cascade. Workers that share it
    need torch in none of them but the first."""
    cost: Annotated[float, Field(gt=0)] = 3.0
    """Cost of asking this level, in the unit of Table 3; only `policy: paper` reads it."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes CUDA where ONNX Runtime has it; `cuda` fails where it has not."""
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    """Of the frozen part of the graph. `int8`, for CPUs, takes less time and loses a little;
    texts are then evaluated one by one. `fp16` is for CUDA, and fails without it."""
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    """CPU threads of a session. A stream job scales by subtasks first."""
    batch: Annotated[int, Field(ge=1, le=512)] = 8
    """Texts evaluated together, of about the same length. On a CPU more than 8 bring nothing."""
    max_tokens: Annotated[int, Field(ge=8, le=512)] = 128
    """Tokens of a text that are read, the two that mark its ends included. Of a longer one the
    beginning (a quarter of them) and the end are read."""
    pooling: Pooling = "inner_and_last"
    """Layers whose means over the tokens the head reads: the `last`, or `inner_and_last`, beside it
    one two thirds of the way up, which knows more of what the model was not trained for. A text
    costs the same; the head is twice as wide, and what the trainer remembers of a text twice as
    long. The head weighs the two as labels come in."""
    top_layers: TopLayers = 0
    """Top transformer layers that are fine-tuned beside the head. 0: the head alone, which needs
    no torch while learning. `all`: the whole encoder with its word embeddings; each release then
    carries all of it, and the trainer's state three times as much."""
    finetune: FinetuneSettings = FinetuneSettings()
    """How the top layers learn; not read where `top_layers` is 0."""
    l2: Annotated[float, Field(gt=0, le=1000)] = 0.4
    """Penalty on the head's weights: the inverse of the variance that a logit is expected to
    have. More holds few labels on a tighter rein; they outgrow it as they become many."""
    buffer: Annotated[int, Field(ge=1, le=100_000)] = 8192
    """Examples remembered to learn from; once it is full, rare labels keep theirs."""

    @property
    def parts(self) -> int:
        """Means of layers that an embedding consists of."""
        return 2 if self.pooling == "inner_and_last" else 1

    @model_validator(mode="after")
    def _precision(self) -> Self:
        if (self.precision, self.device) in (("int8", "cuda"), ("fp16", "cpu")):
            message = (
                f"precision {self.precision} does not pay on {self.device}: fp16 is for cuda, "
                "int8 for cpu, and fp32 for both"
            )
            raise ValueError(message)
        return self


def _linear_by_default(value: object) -> object:
    """Let a level without a kind be a linear one."""
    return {"kind": "linear"} | value if isinstance(value, dict) else value


LevelSettings = Annotated[
    Annotated[LinearSettings | EncoderSettings, Field(discriminator="kind")],
    BeforeValidator(_linear_by_default),
]
