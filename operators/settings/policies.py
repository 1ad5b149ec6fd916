"""The deferral policies: the budgeted one, and the paper's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveInt

from operators.settings.base import Section


class BudgetedSettings(Section):
    """The default policy: a confidence gate whose threshold spends exactly the budget."""

    kind: Literal["budgeted"] = "budgeted"
    audit: Annotated[float, Field(ge=0, le=0.5)] | None = None
    """Share of the accepted answers that is checked with the expert all the same, about; if not
    given, 0.01, and 0.1 with a `target_agreement`. What is known of the agreement rests on it."""
    audit_least: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Probability with which the surest answers are audited, as a part of the mean; that of others
    grows with the doubt. The smaller, the more audits fall where there is something to learn, and
    the longer until they prove much. 1 audits all alike, as does a `target_agreement`."""
    audit_calls: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Part of the budget that audits take at most, about: where few calls are to be had, fewer
    answers than `audit` are checked. Not for a budget by the hour or minute, nor with a
    `target_agreement`."""
    audit_window: Annotated[int, Field(ge=100)] = 20_000
    """Accepted answers over which the recent agreement is taken; drift shows in it."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    """Probability with which a bound on the agreement holds, at all moments together."""
    window: Annotated[int, Field(ge=16, le=100_000)] = 300
    """Latest deferral scores, in events, from which the threshold is taken."""
    horizon: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """Events over which a surplus or a debt against the spending plan is evened out."""
    early_doubt: Annotated[float, Field(ge=0, le=1)] = 0.6
    """With a budget of `calls`: events may be sent ahead of the budget's `pace`, while there is
    most to learn, if the small levels doubt their answer by more than this share of what a level
    doubts that knows nothing. 1 keeps to the pace."""
    exit_risk: Annotated[float, Field(ge=0, lt=1)] = 0.005
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
