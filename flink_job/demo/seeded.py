"""Randomness that is a function of its arguments, in every process and on every machine."""

import hashlib
import random


def seeded(seed: int, *parts: str | int) -> random.Random:
    """Return a generator that the arguments alone determine.

    Parameters
    ----------
    seed
        The seed of the whole run.
    *parts
        What the draws are about, e.g. a purpose, a text and an attempt. Order matters.

    Returns
    -------
    random.Random
        A fresh generator. Equal arguments give equal draws; ``hash()`` is not involved, as its
        values change with each process.
    """
    digest = hashlib.sha256(ascii((seed, *parts)).encode()).digest()
    return random.Random(int.from_bytes(digest))  # noqa: S311 - a simulation must be repeatable
