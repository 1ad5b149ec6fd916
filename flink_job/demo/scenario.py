"""The demo's job: what it asks, of whom, and for how many calls."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from flink_job import output
from flink_job.demo.posts import LABELS, write
from flink_job.settings import SettingsError

POSTS, JOB = "posts.jsonl", "job.yaml"
API_KEY = "demo-key"  # of the local endpoint, which asks for one as a real provider would
LATENCY_MS, HANG_S, RETRY_AFTER_S = 40.0, 2.0, 0.2
_KEY_ENV = "FLINK_CASCADE_DEMO_KEY"
_CALLS_SHARE = 0.2  # of the events may go to the expert
_MADE_BY_RUN = {
    *output.FOLDERS,
    output.CHECKPOINTS,
    output.SAVEPOINTS,
    output.LOGS,
    "report.html",
    "summary.json",
}
_MALFORMED = '{"id": "broken", "text": \n'  # one line that is no event, for the dead letters


def prepare(folder: Path, count: int, seed: int) -> Path:
    """Write the posts, and one malformed line, into the demo's folder; an earlier demo goes.

    Returns
    -------
    Where the job's YAML belongs.

    Raises
    ------
    SettingsError
        If the folder holds anything that no demo wrote.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = {path.name for path in folder.iterdir()}
    strange = found - {POSTS, JOB} - _MADE_BY_RUN
    # Without the posts it is the folder of a job that is no demo.
    if strange or (found and POSTS not in found):
        message = (
            f"--out: {folder} holds {min(strange or found)!r}, which is not the demo's. "
            "Operator action: choose another folder."
        )
        raise SettingsError(message)
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    write(folder / POSTS, count, seed)
    with (folder / POSTS).open("a", encoding="utf-8") as file:
        file.write(_MALFORMED)
    return folder / JOB


def write_job(path: Path, base_url: str, count: int) -> None:
    """Write the job as a YAML that `flink-cascade run` would take as well."""
    job = {
        "task": {
            "name": "moderation",
            "labels": list(LABELS),
            "positive": "abusive",
            "prompt": "You moderate a social network. Decide whether the post is abusive towards "
            "a person (insult, threat, harassment) or ok.",
        },
        "source": {
            "path": POSTS,
            "fields": {"key": "author", "time": "time", "label": "label", "expert": "expert"},
        },
        "sink": {"path": "."},
        "levels": [{"kind": "linear"}],
        "expert": {
            "kind": "openai",
            "model": "demo-llm",
            "base_url": base_url,
            "api_key_env": _KEY_ENV,
            "timeout_s": HANG_S / 2,
            "retry": {"first_wait_s": 0.1},
            "price": {"input_usd": 0.15, "output_usd": 0.6},
        },
        "budget": {"calls": round(count * _CALLS_SHARE)},
    }
    path.write_text(yaml.safe_dump(job, sort_keys=False), encoding="utf-8")


@contextmanager
def key_in_environment() -> Iterator[None]:
    """Have the endpoint's key where the job looks for it."""
    os.environ[_KEY_ENV] = API_KEY
    try:
        yield
    finally:
        del os.environ[_KEY_ENV]
