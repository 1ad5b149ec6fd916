"""Settings of the core, one small section for each thing that has choices.

Frozen, bounded, closed to unknown names. The job's YAML is made of these; the core gets only the
section that it needs.
"""

from operators.settings.base import Name, PositiveShare, Section, Share
from operators.settings.cascade import CascadeSettings
from operators.settings.expert import (
    BreakerSettings,
    Expert,
    OpenAIExpertSettings,
    PriceSettings,
    RecordedExpertSettings,
    RetrySettings,
)
from operators.settings.learning import LearningSettings, PromotionSettings
from operators.settings.levels import (
    EncoderSettings,
    FeatureSettings,
    FinetuneSettings,
    LevelSettings,
    LinearSettings,
    Pooling,
    TopLayers,
)
from operators.settings.policies import BudgetedSettings, GateSettings, PaperSettings, Policy
from operators.settings.spending import BudgetSettings
from operators.settings.task import TaskSettings

__all__ = [
    "BreakerSettings",
    "BudgetSettings",
    "BudgetedSettings",
    "CascadeSettings",
    "EncoderSettings",
    "Expert",
    "FeatureSettings",
    "FinetuneSettings",
    "GateSettings",
    "LearningSettings",
    "LevelSettings",
    "LinearSettings",
    "Name",
    "OpenAIExpertSettings",
    "PaperSettings",
    "Policy",
    "Pooling",
    "PositiveShare",
    "PriceSettings",
    "PromotionSettings",
    "RecordedExpertSettings",
    "RetrySettings",
    "Section",
    "Share",
    "TaskSettings",
    "TopLayers",
]
