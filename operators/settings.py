"""Settings of the core, one small section for each thing that has choices.

Frozen, bounded, closed to unknown names. The job's YAML is made of these; the core gets only the
section that it needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    model_validator,
)

from model_store.names import NAME_RULE, is_name
from operators.expert.prompt import fold_label

Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]


def _plain_name(name: str) -> str:
    if not is_name(name):
        message = f"must be {NAME_RULE}"
        raise ValueError(message)
    return name


Name = Annotated[str, Field(max_length=64), AfterValidator(_plain_name)]


class Section(BaseModel):
    """A part of the settings: frozen, and closed to names that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class TaskSettings(Section):
    """The question that is asked about every event."""

    name: Name
    """Name of the task; releases and the budget are kept under it."""
    labels: Annotated[tuple[str, ...], Field(min_length=2, max_length=100)]
    """The possible answers. The order is kept in every list of probabilities."""
    prompt: Annotated[str, Field(min_length=1)]
    """The instruction for the LLM, as its system message. The labels are added to it."""
    positive: str | None = None
    """The label whose F1, precision and recall are reported, for a rare class that matters."""

    @model_validator(mode="after")
    def _labels_differ(self) -> Self:
        folded = [fold_label(label) for label in self.labels]
        if len(set(folded)) != len(folded) or "" in folded:
            message = "labels must differ by more than case and punctuation around them"
            raise ValueError(message)
        if self.positive is not None and self.positive not in self.labels:
            message = f"positive: {self.positive!r} is none of the labels {list(self.labels)}"
            raise ValueError(message)
        return self


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


class FinetuneSettings(Section):
    """Online fine-tuning of an encoder's top layers from the remembered examples."""

    rate: Annotated[float, Field(gt=0, le=0.1)] = 1e-4
    """Learning rate of the layers (AdamW). Five times as much forgets more than it learns."""
    decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Decoupled weight decay of the layers."""
    batch: Annotated[int, Field(ge=1, le=256)] = 8
    """Examples in one gradient step, drawn evenly over the labels."""
    every: Annotated[int, Field(ge=1, le=10_000)] = 4
    """New annotations for one gradient step."""
    time_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the trainer's time that gradient steps may take. Steps that do not fit are left
    out, so that labels are taken in and releases go out at the stream's pace."""


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
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    """CPU threads of a session. A stream job scales by subtasks first."""
    batch: Annotated[int, Field(ge=1, le=512)] = 8
    """Texts evaluated together, of about the same length. On a CPU more than 8 bring nothing."""
    max_tokens: Annotated[int, Field(ge=8, le=512)] = 128
    """Tokens of a text that are read, the two that mark its ends included; the rest is cut off."""
    top_layers: Annotated[int, Field(ge=0, le=48)] = 0
    """Top transformer layers that are fine-tuned beside the head. 0: the head alone, which needs
    no torch while learning."""
    finetune: FinetuneSettings = FinetuneSettings()
    """How the top layers learn; not read where `top_layers` is 0."""
    rate: Annotated[float, Field(gt=0, le=1)] = 0.003
    """Learning rate of the head (Adam)."""
    l2: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Weight decay of the head."""
    steps: Annotated[int, Field(ge=1, le=64)] = 4
    """Steps of the head for each new annotation."""
    step_size: Annotated[int, Field(ge=1, le=256)] = 16
    """Remembered examples in one step."""
    buffer: Annotated[int, Field(ge=1, le=100_000)] = 8192
    """Examples remembered to learn from (a uniform sample of all)."""


def _linear_by_default(value: object) -> object:
    """Let a level without a kind be a linear one."""
    return {"kind": "linear"} | value if isinstance(value, dict) else value


LevelSettings = Annotated[
    Annotated[LinearSettings | EncoderSettings, Field(discriminator="kind")],
    BeforeValidator(_linear_by_default),
]


class BudgetedSettings(Section):
    """The default policy: a confidence gate whose threshold spends exactly the budget."""

    kind: Literal["budgeted"] = "budgeted"
    audit: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Share of the accepted answers that is checked with the expert all the same."""
    window: Annotated[int, Field(ge=16, le=100_000)] = 300
    """Latest deferral scores, in events, from which the threshold is taken."""
    horizon: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """Events over which a surplus or a debt against the spending plan is evened out."""
    exit_risk: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """With several small levels: a level answers by itself if the estimated probability that the
    later small levels would disagree with it is at most this, and below the deferral threshold."""
    ensemble_rate: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Learning rate of the weights with which the levels' opinions are averaged."""


class GateSettings(Section):
    """Deferral function and schedule of one level under the paper's policy (Table 3)."""

    rate: Annotated[float, Field(gt=0)] = 0.0007
    """Learning rate of the deferral MLP."""
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.97
    """Factor by which beta, the probability of a jump, falls at each update of the level."""
    calibration: Annotated[float, Field(ge=0, le=1)] = 0.4
    """Added to the target z of Eq. 5 (authors' code; 0 is the paper's text)."""
    cache: Annotated[int, Field(ge=1, le=1024)] = 8
    """Annotations gathered before the level is updated (Table 3: 8, for the encoder 16)."""


class PaperSettings(Section):
    """The paper's policy: Algorithm 1 with learned deferral functions, Eq. 1 and Eq. 5.

    Defaults are the paper's Table 3; every deviation of the authors' code is an option of its own.
    """

    kind: Literal["paper"] = "paper"
    mu: Annotated[float, Field(ge=0)] = 0.0005
    """Cost weight of Eq. 1. A knife edge: 10 % of it can move the number of calls threefold."""
    expert_cost: Annotated[float, Field(gt=0)] = 1182.0
    """Cost of the expert, relative to the levels' `cost`."""
    gates: tuple[GateSettings, ...] = (GateSettings(),)
    """One for each small level; a single one serves all."""
    warmup_updates: Annotated[int, Field(ge=0)] = 10
    """Everything goes to the expert until each level was updated that often (authors' code; 0 is
    the paper's text)."""
    jump: Literal["expert", "next"] = "expert"
    """Where a jump leads: the paper's text says the expert, the authors' code the next level."""
    action: Literal["threshold", "sample"] = "threshold"
    """Defer if f > 0.5 (Section 3), or with probability f (Algorithm 1)."""
    objective: Literal["both", "calibration", "cost"] = "both"
    """What the deferral functions descend on: Eq. 5, Eq. 1 (cost), or both (authors' code)."""
    loss_on: Literal["logits", "probabilities"] = "logits"
    """The authors' code applies its cross-entropy to probabilities as if they were logits."""
    optimizer: Literal["adam", "ogd"] = "adam"
    """Adam is the authors' code, online gradient descent the paper's text."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0001
    """L2 penalty of the deferral functions (authors' code)."""
    hidden: PositiveInt = 128
    """Width of the deferral MLP."""
    aggregate: bool = False
    """Update on a sample of the whole aggregated D (paper's text) and not on the cache alone
    (authors' code)."""


def _named_policy(value: object) -> object:
    """Let ``policy: paper`` stand for ``policy: {kind: paper}``."""
    return {"kind": value} if isinstance(value, str) else value


Policy = Annotated[
    Annotated[BudgetedSettings | PaperSettings, Field(discriminator="kind")],
    BeforeValidator(_named_policy),
]


class BudgetSettings(Section):
    """What may be spent on the expert: exactly one of the ways to say it. Hard, never exceeded."""

    calls: Annotated[int, Field(ge=0)] | None = None
    """Calls over the whole stream, failed calls and retries included."""
    events: Annotated[int, Field(ge=1)] | None = None
    """With `calls`: length of the stream in events. A bounded source knows it by itself."""
    share: PositiveShare | None = None
    """Calls as a share of the events, for a stream without an end: at no time were there more
    calls than share x (events + burst)."""
    burst: Annotated[int, Field(ge=0)] = 500
    """Events' worth of calls that may be spent ahead, with `share`."""
    pace: Annotated[float, Field(gt=0, le=2)] = 0.75
    """With `calls` and a known number of events T, calls planned by event t are
    calls x (t / T) ** pace: below 1 spends more at first, while there is most to learn."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.calls is None) == (self.share is None):
            message = "a budget is exactly one of `calls` and `share`"
            raise ValueError(message)
        if self.share is not None and self.events is not None:
            message = "`events` goes with `calls`; a `share` needs no length of the stream"
            raise ValueError(message)
        return self


class LearningSettings(Section):
    """How often what was learned is released to the cascade."""

    frozen: bool = False
    """Learn nothing and publish nothing: decide with the head release as it is."""
    release_every: Annotated[int, Field(ge=1)] = 16
    """Fewest annotations between two releases."""
    release_growth: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Also wait until the annotations grew by this share since the last release ..."""
    release_at_most: Annotated[int, Field(ge=1)] = 256
    """... but for no more annotations than this."""


class PriceSettings(Section):
    """What the provider charges, for the cost of a decision."""

    input_usd: Annotated[float, Field(ge=0)] = 0.0
    """US dollars for a million prompt tokens."""
    output_usd: Annotated[float, Field(ge=0)] = 0.0
    """US dollars for a million answer tokens."""


class RetrySettings(Section):
    """The one retry layer between the job and the provider."""

    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    """Calls for one event at the most. Each is paid from the budget."""
    first_wait_s: Annotated[float, Field(ge=0)] = 0.5
    """Wait before the second attempt; doubles each time, with jitter. Retry-After is honoured."""
    longest_wait_s: Annotated[float, Field(gt=0)] = 20.0
    """No wait is longer, whatever the provider asks for."""


class OpenAIExpertSettings(Section):
    """Any OpenAI-compatible chat completions endpoint."""

    kind: Literal["openai"] = "openai"
    model: Annotated[str, Field(min_length=1)]
    base_url: Annotated[str, Field(pattern=r"^https?://[^@]*$")] = "https://api.openai.com/v1"
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key, never the key itself."""
    concurrency: Annotated[int, Field(ge=1, le=4096)] = 32
    """Calls in flight at the most, for each subtask."""
    timeout_s: Annotated[float, Field(gt=0)] = 30.0
    """For one call."""
    max_tokens: Annotated[int, Field(ge=1)] = 16
    """Length of an answer at the most, in tokens."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 0.0
    """Null leaves it out, for models that refuse it."""
    max_chars: Annotated[int, Field(ge=16)] = 20_000
    """Characters of a text that are sent; the rest is cut off."""
    retry: RetrySettings = RetrySettings()
    price: PriceSettings = PriceSettings()


class RecordedExpertSettings(Section):
    """Replays answers that an LLM gave before, from a column of the source."""

    kind: Literal["recorded"] = "recorded"
    column: Annotated[str, Field(min_length=1)]
    """Column (CSV) or field (JSON Lines) with the recorded answer."""


Expert = Annotated[OpenAIExpertSettings | RecordedExpertSettings, Field(discriminator="kind")]


class CascadeSettings(Section):
    """Everything that decides, and everything that learns; the core is built from this alone."""

    task: TaskSettings
    levels: Annotated[tuple[LevelSettings, ...], Field(min_length=1)] = (LinearSettings(),)
    """The small levels, cheapest first. The expert comes after the last."""
    expert: Expert
    policy: Policy = BudgetedSettings()
    """`budgeted` (default) or `paper`."""
    budget: BudgetSettings | None = None
    """What may be spent on the expert. The budgeted policy needs one."""
    learning: LearningSettings = LearningSettings()
    seed: Annotated[int, Field(ge=0)] = 0
    """Of every chance: audits, jumps, replay draws, first weights."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = [level.name for level in self.levels]
        reserved = {"expert", "policy", "counts"}
        if len(set(names)) != len(names) or reserved & set(names):
            message = f"levels: names must differ, and be none of {sorted(reserved)}; found {names}"
            raise ValueError(message)
        if isinstance(self.policy, BudgetedSettings) and self.budget is None:
            message = (
                "budget: the budgeted policy needs one; write for instance "
                "`budget: {share: 0.1}` for at most one call in ten events"
            )
            raise ValueError(message)
        if isinstance(self.policy, PaperSettings) and len(self.policy.gates) not in (1, len(names)):
            message = f"policy.gates: write one entry, or one for each of the {len(names)} levels"
            raise ValueError(message)
        return self
