"""Everything that decides and learns, in one section."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from operators.settings.base import Section
from operators.settings.expert import Expert, OpenAIExpertSettings
from operators.settings.learning import LearningSettings
from operators.settings.levels import LevelSettings, LinearSettings
from operators.settings.policies import BudgetedSettings, PaperSettings, Policy
from operators.settings.spending import BudgetSettings
from operators.settings.task import TaskSettings

_AUDIT, _AUDIT_TO_PROVE = 0.01, 0.1  # of the accepted answers, if nothing is said


class CascadeSettings(Section):
    """Everything that decides, and everything that learns; the core is built from this alone."""

    task: TaskSettings
    levels: Annotated[tuple[LevelSettings, ...], Field(min_length=1)] = (LinearSettings(),)
    """The small levels, cheapest first. The expert comes after the last."""
    expert: Expert
    policy: Policy = BudgetedSettings()
    """`budgeted` (default) or `paper`."""
    budget: BudgetSettings | None = None
    """What may be spent on the expert. The budgeted policy needs one, or a `target_agreement`."""
    target_agreement: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Instead of a budget: the share of the events whose decision the expert would confirm. As many
    events are sent to the expert as it takes; audits prove it with the policy's `confidence`."""
    learning: LearningSettings = LearningSettings()
    seed: Annotated[int, Field(ge=0)] = 0
    """Of every chance: audits, jumps, replay draws, first weights."""

    @property
    def audit_rate(self) -> float:
        """Share of the accepted answers that is audited."""
        if isinstance(self.policy, PaperSettings):
            return 0.0
        if self.policy.audit is not None:
            rate = self.policy.audit
        else:
            rate = _AUDIT if self.target_agreement is None else _AUDIT_TO_PROVE
        calls = None if self.budget is None else self.budget.of_all_events
        return rate if calls is None else min(rate, self.policy.audit_calls * calls)

    @property
    def least_audit_rate(self) -> float:
        """Probability with which any accepted answer is audited at the least."""
        if isinstance(self.policy, PaperSettings) or self.target_agreement is not None:
            return self.audit_rate  # what is to be proved is spent like money: the surest proof
        return self.policy.audit_least * self.audit_rate

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = [level.name for level in self.levels]
        reserved = {"expert", "policy", "counts", "evidence", "holdout"}
        if len(set(names)) != len(names) or reserved & set(names):
            message = f"levels: names must differ, and be none of {sorted(reserved)}; found {names}"
            raise ValueError(message)
        self._check_aim()
        self._check_prices()
        if isinstance(self.policy, PaperSettings) and len(self.policy.gates) not in (1, len(names)):
            message = f"policy.gates: write one entry, or one for each of the {len(names)} levels"
            raise ValueError(message)
        return self

    def _check_aim(self) -> None:
        message = None
        if self.target_agreement is not None:
            if not isinstance(self.policy, BudgetedSettings):
                message = "target_agreement: the paper's policy steers by its mu; take one out"
            elif self.budget is not None:
                message = "target_agreement: it stands in place of a budget; take one of them out"
            elif self.policy.audit == 0:
                message = "target_agreement: nothing proves it without `policy.audit` above 0"
        elif isinstance(self.policy, BudgetedSettings) and self.budget is None:
            message = (
                "budget: the budgeted policy needs one; write for instance "
                "`budget: {share: 0.1}` for at most one call in ten events, or "
                "`target_agreement: 0.95` to spend what that takes"
            )
        if message is not None:
            raise ValueError(message)

    def _check_prices(self) -> None:
        """Money and tokens can be drawn only where an expert tells what a call took."""
        budget, expert, message = self.budget, self.expert, None
        if budget is None or (budget.usd_per_hour or budget.tokens_per_minute) is None:
            return
        if not isinstance(expert, OpenAIExpertSettings):
            message = "budget: recorded answers take no tokens and cost nothing; use `per_hour`"
        elif budget.usd_per_hour is not None and not (
            expert.price.input_usd and expert.price.output_usd
        ):
            message = (
                "budget.usd_per_hour: needs expert.price.input_usd and expert.price.output_usd, "
                "what the provider charges for a million tokens; write for instance `price: "
                "{input_usd: 0.15, output_usd: 0.60}` under `expert`, or use `per_hour` or "
                "`tokens_per_minute`"
            )
        if message is not None:
            raise ValueError(message)
