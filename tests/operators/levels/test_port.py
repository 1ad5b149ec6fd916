"""Names of tensors in a release, and the check that every level builds on."""

from __future__ import annotations

import numpy as np
import pytest

from model_store.errors import TensorMismatch
from operators.levels.port import expect, prefixed, under


def test_levels_do_not_see_each_others_tensors() -> None:
    one, two = {"w": np.zeros(1)}, {"w": np.ones(2), "deep/w": np.ones(3)}
    release = prefixed("level", one) | prefixed("level.2", two)
    assert under("level", release) == one
    assert under("level.2", release).keys() == two.keys()
    assert under("lev", release) == {}


def test_expect_takes_any_length_where_none_is_named() -> None:
    tensors = {"w": np.zeros((3, 2), np.float32)}
    assert expect(tensors, "w", np.float32, (None, 2)) is tensors["w"]
    shapes: list[tuple[int | None, ...]] = [(None, 3), (None,), (3, 2, 1)]
    for shape in shapes:
        with pytest.raises(TensorMismatch, match=r"float32 of shape \(3, 2\)"):
            expect(tensors, "w", np.float32, shape)
    with pytest.raises(TensorMismatch, match="not int32"):
        expect(tensors, "w", np.int32, (3, 2))
    with pytest.raises(TensorMismatch, match="missing"):
        expect(tensors, "v", np.float32, (1,))
