"""Online tf-idf: document frequencies come from the annotated events alone, never from ahead."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.levels.features import Counts

FloatArray = npt.NDArray[np.float32]


def tfidf(counts: Counts, frequency: FloatArray, documents: float) -> FloatArray:
    """Weights of a batch's entries: sublinear tf x smoothed idf, each text scaled to length 1.

    Parameters
    ----------
    frequency
        Shape (features,): in how many documents each feature was seen.
    documents
        How many documents were seen.

    Returns
    -------
    Shape (entries,), in the order of ``counts.indices``.
    """
    rows = counts.rows
    inverse = np.float32(1 + documents) / (np.float32(1) + frequency[counts.indices])
    weights: FloatArray = (np.float32(1) + np.log(counts.counts)) * (
        np.float32(1) + np.log(inverse)
    )
    squares = np.bincount(rows, weights=weights * weights, minlength=len(counts.indptr) - 1)
    lengths = np.sqrt(np.maximum(squares, np.finfo(np.float32).tiny)).astype(np.float32)
    weights /= lengths[rows]
    return weights
