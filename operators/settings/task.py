"""The question that is asked about every event."""

from __future__ import annotations

from typing import Annotated, Self
from unicodedata import category

from pydantic import Field, model_validator

from operators.expert.prompt import fold_label
from operators.settings.base import Name, Section

# Unicode's control characters, surrogates, line and paragraph separators. Not its joiners (Cf),
# which words of some languages are written with.
_CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})


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
        taken: dict[str, str] = {}
        for label in self.labels:
            if any(category(character) in _CONTROL for character in label):
                message = (
                    f"labels: {label!r} holds a control character, such as a line break; take it "
                    "out"
                )
                raise ValueError(message)
            folded = fold_label(label)
            if not folded:
                message = f"labels: {label!r} is empty but for punctuation; give it a name"
                raise ValueError(message)
            if folded in taken:
                message = (
                    f"labels: {taken[folded]!r} and {label!r} must differ by more than case and "
                    "punctuation around them, for that is how the LLM's answers are read"
                )
                raise ValueError(message)
            taken[folded] = label
        if self.positive is not None and self.positive not in self.labels:
            message = f"positive: {self.positive!r} is none of the labels {list(self.labels)}"
            raise ValueError(message)
        return self
