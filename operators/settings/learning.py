"""How often what was learned is released."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from operators.settings.base import Section


class PromotionSettings(Section):
    """The gate that a release has to pass to serve: not worse than the one that serves.

    Both are scored on annotations that neither has learned from, by the quadratic score: 1 for a
    right answer without a doubt, 0 for a wrong one.
    """

    margin: Annotated[float, Field(ge=0, le=1)] = 0.03
    """By how much the mean score may be below that of the release that serves, at the most."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.5
    """How sure that has to be. 0.5 goes by the mean alone: to be surer, most of what is no worse
    would be turned down as long as little is held out."""
    holdout: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    """Share of the annotations that is held out, by chance. Each is learned when it leaves, so what
    this costs is that the learner lags behind by as many labels as are held out."""
    window: Annotated[int, Field(ge=16, le=4096)] = 128
    """Annotations held out at a time. With the share above they stand for the latest 2560, so bad
    annotations have to go on for as long before they alone judge."""
    least: Annotated[int, Field(ge=2)] = 32
    """As long as fewer are held out, every release passes."""
    patience: Annotated[int, Field(ge=1)] = 4
    """Candidates in a row that are rejected before the trainer gives up what it learned since, and
    goes on from the release that serves: what a stretch of bad annotations left in its memory, and
    would go on to teach, is gone then."""

    @model_validator(mode="after")
    def _least_fits(self) -> Self:
        if self.least > self.window:
            message = f"least: {self.least} annotations never fit into a window of {self.window}"
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
    gate: PromotionSettings | None = PromotionSettings()
    """What a release has to pass to serve; null lets all pass, and the paper's policy has none."""
