"""A seeded stream of social posts for a moderation task, with its answer key.

The stream is made to be like a live one where that matters to a cascade that learns online: abuse
is rare, a few authors write most of it, posts are reposted, and in the middle of the stream both
the topics and the vocabulary of abuse change.
"""

import json
import random
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from flink_job.demo.crowd import draw_crowd
from flink_job.demo.drafts import Draft, Tone, compose
from flink_job.demo.eras import FIRST, SECOND
from flink_job.demo.seeded import seeded

Label = Literal["ok", "abusive"]

LABELS: Final[tuple[Label, Label]] = ("ok", "abusive")

_START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
_CALM_GAP_S = 4.0
_BURST_GAP_S = 0.2
_BURST_BEGINS_RATE = 0.02
_BURST_ENDS_RATE = 0.05

_AMBIGUOUS_RATE = 0.05
_AMBIGUOUS_ABUSIVE_RATE = 0.3
_HEATED_RATE = 0.2

_REPOST_RATE = 0.04
_REPOST_WINDOW = 200
_REPOST_EMOJI = ("😂", "🔥", "👀", "🙄", "👇")

# How often the simulated LLM is wrong: 5 % over the stream.
_EXPERT_ERROR: dict[Label, float] = {"ok": 0.035, "abusive": 0.1}
_EXPERT_ERROR_AMBIGUOUS = 0.2

_RETWEET_PREFIX = re.compile(r"^RT @\w+: ")


@dataclass(frozen=True, slots=True)
class Post:
    """One post of the stream.

    Attributes
    ----------
    id
        Unique within a stream and between streams of different seeds.
    author
        A handle without ``@``.
    time
        When it was posted: ISO 8601, UTC, milliseconds. Strictly increasing along the stream.
    text
        3 to 60 words.
    label
        The truth. Posts with equal text have equal labels.
    expert
        What the simulated LLM answers: the label with errors. Posts with equal text, and those that
        quote it behind ``RT @author:``, get the same answer.
    """

    id: str
    author: str
    time: str
    text: str
    label: Label
    expert: Label


def generate(count: int, seed: int) -> Iterator[Post]:
    """Write a stream of posts.

    Parameters
    ----------
    count
        How many posts, at least 1. The second half, shorter by one if odd, is the second era.
    seed
        Determines the stream, together with `count`.

    Returns
    -------
    Iterator[Post]
        Written as they are asked for; memory stays constant.

    Raises
    ------
    ValueError
        If `count` is below 1; at the call, not at the first post.
    """
    if count < 1:
        message = f"cannot write {count} posts. Operator action: ask for at least 1"
        raise ValueError(message)
    return _stream(count, seed)


def write(path: Path, count: int, seed: int) -> None:
    """Write a stream to a file, one JSON object a line.

    Parameters
    ----------
    path
        Appears only when complete, so that a job that watches the folder never reads a part of it.
        An existing file is replaced.
    count, seed
        As for `generate`.

    Raises
    ------
    ValueError
        As for `generate`.
    OSError
        If the file cannot be written.
    """
    posts = generate(count, seed)
    # Flink's file source skips names that begin with a dot.
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8", newline="\n") as lines:
        for post in posts:
            lines.write(json.dumps(asdict(post), ensure_ascii=False) + "\n")
    part.replace(path)


def _stream(count: int, seed: int) -> Iterator[Post]:
    rng = seeded(seed, "posts")
    crowd = draw_crowd(rng)
    times = _times(rng)
    recent: deque[tuple[str, Draft]] = deque(maxlen=_REPOST_WINDOW)
    for index in range(count):
        author = crowd.draw(rng)
        if recent and rng.random() < _REPOST_RATE:
            original, draft = rng.choice(recent)
            label = _label(seed, draft)
            draft = Draft(text=_repost(rng, original, draft.text), tone=draft.tone)
        else:
            era = FIRST if 2 * index < count else SECOND
            draft = compose(rng, era, crowd.handles, _tone(rng, crowd.abuse_rates[author]))
            label = _label(seed, draft)
            recent.append((author, draft))
        yield Post(
            id=f"{seed}-{index:07d}",
            author=author,
            time=next(times).isoformat(timespec="milliseconds"),
            text=draft.text,
            label=label,
            expert=_expert(seed, draft, label),
        )


def _times(rng: random.Random) -> Iterator[datetime]:
    time = _START
    burst = False
    while True:
        burst = rng.random() >= _BURST_ENDS_RATE if burst else rng.random() < _BURST_BEGINS_RATE
        gap_s = rng.expovariate(1.0) * (_BURST_GAP_S if burst else _CALM_GAP_S)
        time += timedelta(milliseconds=1 + int(gap_s * 1000))
        yield time


def _tone(rng: random.Random, abuse_rate: float) -> Tone:
    if rng.random() < abuse_rate:
        return "abusive"
    draw = rng.random()
    if draw < _AMBIGUOUS_RATE:
        return "ambiguous"
    return "heated" if draw < _AMBIGUOUS_RATE + _HEATED_RATE else "plain"


def _repost(rng: random.Random, author: str, text: str) -> str:
    return rng.choice((text, f"RT @{author}: {text}", f"{text} {rng.choice(_REPOST_EMOJI)}"))


def _label(seed: int, draft: Draft) -> Label:
    if draft.tone == "ambiguous":
        # Drawn from the text, not from the stream: equal texts must have equal labels.
        draw = seeded(seed, "label", draft.text).random()
        return "abusive" if draw < _AMBIGUOUS_ABUSIVE_RATE else "ok"
    return "abusive" if draft.tone == "abusive" else "ok"


def _expert(seed: int, draft: Draft, label: Label) -> Label:
    rate = _EXPERT_ERROR_AMBIGUOUS if draft.tone == "ambiguous" else _EXPERT_ERROR[label]
    if seeded(seed, "expert", _RETWEET_PREFIX.sub("", draft.text)).random() >= rate:
        return label
    return "ok" if label == "abusive" else "abusive"
