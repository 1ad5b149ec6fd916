"""The endpoint's answer key: what the simulated LLM thinks of each text it knows."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from flink_job.demo.posts import Post


def text_key(text: str) -> str:
    """Return the sha256 of a text, in hex: how the answer key names it.

    Texts come from the network: a lone surrogate, which JSON can carry, is hashed as it is.
    """
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def answers_from_posts(posts: Iterable[Post]) -> dict[str, str]:
    """Build an answer key from posts: `text_key` of each text to the expert's answer."""
    return {text_key(post.text): post.expert for post in posts}


def answers_from_file(path: Path) -> dict[str, str]:
    """Build an answer key from a file.

    Parameters
    ----------
    path
        UTF-8, one JSON object a line with the strings ``text`` and ``expert``; other fields are
        ignored. Of two answers to the same text the first one counts.

    Returns
    -------
    dict[str, str]
        `text_key` of each text to the expert's answer.

    Raises
    ------
    ValueError
        If a line is not such an object; names the line.
    OSError
        If the file cannot be read.
    """
    answers: dict[str, str] = {}
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            text, expert = _read(line, f"{path}:{number}")
            answers.setdefault(text_key(text), expert)
    return answers


def _read(line: str, where: str) -> tuple[str, str]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ValueError(_complaint(where)) from error
    match record:
        case {"text": str(text), "expert": str(expert)}:
            return text, expert
        case _:
            raise ValueError(_complaint(where))


def _complaint(where: str) -> str:
    return (
        f"{where} is no post with an answer. "
        'Operator action: give one JSON object a line, {"text": "...", "expert": "..."}'
    )
