"""Seeded coins: the same event meets the same chance, wherever and however often it is decided."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_BITS = 53  # a float64 holds that many bits of a uniform number exactly


def coins(seed: int, purpose: str, ids: Sequence[str]) -> npt.NDArray[np.float64]:
    """Uniform numbers in [0, 1), one for each id, as a function of nothing but the arguments.

    A decision that is made in another batch or on another subtask draws the same number, so a
    replay takes the same turns as the job, and a propensity means what it says.
    The seed keys the hash: whoever writes events can not choose ids that escape an audit
    without knowing it.
    """
    key = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=32).digest()
    return np.array(
        [
            int.from_bytes(
                hashlib.blake2b(i.encode("utf-8", "surrogatepass"), key=key, digest_size=8).digest()
            )
            >> (64 - _BITS)
            for i in ids
        ],
        dtype=np.float64,
    ) / float(1 << _BITS)
