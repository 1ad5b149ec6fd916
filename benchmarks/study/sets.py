"""What a study runs on: the paper's four data sets, or any job with recorded answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from flink_job.settings import JobSettings, SettingsError, load_job
from operators.settings import RecordedExpertSettings

_SCRATCH = "unused"  # a study writes no decisions, but a job has to name a folder for them


@dataclass(frozen=True)
class StudySet:
    """A labelled stream with recorded expert answers.

    Parameters
    ----------
    job
        The job's settings but for policy, budget, levels and seed, which the study varies.
    features
        Of the linear level: what the length of the texts asks for, nothing tuned.
    tokens
        Of a text that an encoder reads.
    shares
        Budgets to study, in calls an event, in ascending order.
    note
        What a reader of the results must know.
    """

    name: str
    job: Mapping[str, Any]
    features: Mapping[str, Any] = field(default_factory=dict)
    tokens: int = 128
    shares: tuple[float, ...] = (0.1, 0.25, 0.5)
    note: str = ""


def paper_sets(data: Path) -> dict[str, StudySet]:
    """The paper's data sets in a folder, at the shares of calls of its Table 1.

    The folder holds hatespeech.csv.gz and so on, with the columns id, text, label and expert.
    """
    emotions = ["anger", "disgust", "fear", "guilt", "joy", "sadness", "shame"]
    reviews: dict[str, Any] = {"features": {"characters": None}, "tokens": 256}  # long texts
    return {
        made.name: made
        for made in (
            _set(data, "hatespeech", ["no", "yes"], (600 / 5352, 1350 / 5352, 0.5), "yes"),
            _set(data, "isear", emotions, (1200 / 3833, 1500 / 3833, 2700 / 3833)),
            _set(data, "imdb", ["negative", "positive"], (0.104, 0.208, 0.416), **reviews),
            _set(
                data,
                "fever",
                ["false", "true"],
                (700 / 3256, 2000 / 3256, 2800 / 3256),
                note="the expert is SIMULATED from the paper's recall of each class",
            ),
        )
    }


def _set(
    data: Path,
    name: str,
    labels: list[str],
    shares: tuple[float, ...],
    positive: str | None = None,
    **more: Any,
) -> StudySet:
    job = {
        "task": {
            "name": name,
            "labels": labels,
            "positive": positive,
            "prompt": "Not sent: the answers are recorded.",
        },
        "source": {"path": str(data / f"{name}.csv.gz"), "fields": {"label": "label"}},
        "sink": {"path": _SCRATCH},
        "expert": {"kind": "recorded", "column": "expert"},
    }
    return StudySet(name, job, shares=shares, **more)


def job_set(path: Path) -> StudySet:
    """The set that a job's YAML describes; its levels, policy and budget are not taken over.

    Raises
    ------
    SettingsError
        If the job is none, or has no recorded answers and gold labels to study.
    """
    job = load_job(path)
    if not isinstance(job.expert, RecordedExpertSettings):
        message = f"{path}: expert: a study needs recorded answers; write `kind: recorded`"
        raise SettingsError(message)
    if job.source.fields.label is None:
        message = f"{path}: source.fields.label: a study needs the column of the gold labels"
        raise SettingsError(message)
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["source"]["path"] = str(job.files.path)
    for varied in ("levels", "policy", "budget", "seed"):
        content.pop(varied, None)
    return StudySet(job.task.name, content)


def settings_of(study: StudySet, changes: Mapping[str, Any]) -> JobSettings:
    """The job of a set with what a study varies."""
    return JobSettings.model_validate({**study.job, **changes})
