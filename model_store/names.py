"""Which names may become part of a key, a channel or a file name."""

import re

MAX_NAME_CHARS = 100
# Deep enough for every parameter of a transformer: encoder/layer.11/attention/output/dense/weight.
MAX_TENSOR_NAME_PARTS = 12
# A sequence number of at least six digits, so that ids sort as text for the first million.
_RELEASE = re.compile(r"r([0-9]{6,12})-[0-9a-f]{12}")
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

NAME_RULE = (
    f"letters, digits, '_', '-' and '.', at most {MAX_NAME_CHARS}, a letter or digit first, no '..'"
)


def is_name(text: str) -> bool:
    """Say whether `text` is a plain name: of a task, a namespace, a statistic (`NAME_RULE`)."""
    return len(text) <= MAX_NAME_CHARS and ".." not in text and bool(_PART.fullmatch(text))


def is_tensor_name(text: str) -> bool:
    """Say whether `text` is plain names joined by single slashes, as in ``level2/head/weight``."""
    parts = text.split("/")
    return len(parts) <= MAX_TENSOR_NAME_PARTS and all(map(is_name, parts))


def release_sequence(text: str) -> int | None:
    """Return the sequence number in a release id, or None where `text` is no release id."""
    match = _RELEASE.fullmatch(text)
    return int(match[1]) if match else None
