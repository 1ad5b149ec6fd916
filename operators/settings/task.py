"""The question that is asked about every event."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from operators.expert.prompt import fold_label
from operators.settings.base import Name, Section


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
