import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError
from safetensors.numpy import save

from model_store.errors import BlobCorrupt, TensorMismatch
from model_store.tensors import (
    DTYPES,
    MAX_BLOB_BYTES,
    Array,
    TensorRef,
    decode,
    encode,
    reference,
)


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    dtype = np.dtype(draw(st.sampled_from(sorted(DTYPES)))).newbyteorder(
        draw(st.sampled_from("<>"))
    )
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    elements = {"allow_nan": False, "allow_infinity": False} if dtype.kind == "f" else {}
    array = draw(hnp.arrays(dtype, shape, elements=elements))
    return array.T if draw(st.booleans()) else array


def ref_of(blob: bytes, dtype: str = "float32", shape: tuple[int, ...] = (2, 3)) -> TensorRef:
    """A reference with the right hash, whatever the blob is."""
    return TensorRef.model_construct(
        sha256=hashlib.sha256(blob).hexdigest(),
        dtype=dtype,  # type: ignore[arg-type]  # unchecked on purpose
        shape=shape,
        nbytes=len(blob),
    )


@given(arrays())
def test_round_trip(array: Array) -> None:
    blob = encode(array)
    decoded = decode(blob, reference(array, blob))
    assert decoded.dtype == array.dtype.newbyteorder("=")
    assert decoded.shape == array.shape
    assert decoded.tobytes() == array.astype(decoded.dtype).tobytes()
    assert decoded.flags.owndata
    assert not decoded.flags.writeable


@given(arrays())
def test_memory_layout_does_not_change_the_address(array: Array) -> None:
    assert encode(array) == encode(np.asfortranarray(array).reshape(array.shape))


@given(arrays(), st.data())
def test_any_changed_bit_is_noticed(array: Array, data: st.DataObject) -> None:
    blob = encode(array)
    position = data.draw(st.integers(0, len(blob) * 8 - 1))
    changed = bytearray(blob)
    changed[position // 8] ^= 1 << position % 8
    with pytest.raises(BlobCorrupt, match="another hash"):
        decode(bytes(changed), reference(array, blob))


@given(arrays(), st.data())
def test_truncation_is_noticed(array: Array, data: st.DataObject) -> None:
    blob = encode(array)
    with pytest.raises(BlobCorrupt, match="instead of"):
        decode(blob[: data.draw(st.integers(0, len(blob) - 1))], reference(array, blob))


@given(st.binary(min_size=1, max_size=200))
def test_bytes_that_are_no_tensor_are_refused_under_their_own_hash(junk: bytes) -> None:
    with pytest.raises(BlobCorrupt):
        decode(junk, ref_of(junk))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_weights_that_are_not_finite_are_refused_on_both_sides(value: float, dtype: type) -> None:
    array: Array = np.array([1, value], dtype)
    with pytest.raises(TensorMismatch, match=r"NaN or infinity.*Operator action"):
        encode(array, name="head/weight")
    blob = save({"tensor": array})
    with pytest.raises(TensorMismatch, match="NaN or infinity"):
        decode(blob, ref_of(blob, np.dtype(dtype).name, (2,)))


@pytest.mark.parametrize(
    "array",
    [np.zeros(2, np.float64), np.zeros(2, bool), np.zeros(2, np.uint8), np.array(["a"])],
)
def test_other_dtypes_are_refused(array: Array) -> None:
    with pytest.raises(TensorMismatch, match="dtype"):
        encode(array)


def test_objects_are_refused_without_being_touched() -> None:
    with pytest.raises(TensorMismatch, match="dtype object"):
        encode(np.array([object()]))


@pytest.mark.parametrize("array", [np.zeros((3, 2), np.float32), np.zeros((2, 3), np.int32)])
def test_another_shape_or_dtype_than_promised_is_refused(array: Array) -> None:
    blob = encode(array)
    with pytest.raises(TensorMismatch, match="instead of float32 of shape"):
        decode(blob, ref_of(blob))


@pytest.mark.parametrize(
    "content",
    [
        {"other": np.zeros((2, 3), np.float32)},
        {"tensor": np.zeros((2, 3), np.float32), "more": np.zeros(1, np.float32)},
    ],
)
def test_a_blob_holds_one_tensor_under_the_one_name(content: dict[str, Array]) -> None:
    blob = save(content)
    with pytest.raises(BlobCorrupt, match="not the one"):
        decode(blob, ref_of(blob))


def test_too_many_dimensions_are_refused() -> None:
    with pytest.raises(TensorMismatch, match="9 dimensions"):
        encode(np.zeros((1,) * 9, np.float32))


def test_a_tensor_above_the_limit_is_refused() -> None:
    # A broadcast view: huge in what it says, four bytes in memory.
    huge = np.broadcast_to(np.int32(0), (MAX_BLOB_BYTES // 4,))
    with pytest.raises(TensorMismatch, match="the limit is"):
        encode(huge)


@pytest.mark.parametrize(
    "change",
    [
        {"nbytes": MAX_BLOB_BYTES + 1, "shape": (MAX_BLOB_BYTES // 4,)},
        {"shape": (10**12,)},
        {"nbytes": 2_000},
        {"shape": (-2, -3)},
        {"shape": (1,) * 9},
        {"nbytes": 24},
        {"nbytes": 0},
        {"nbytes": True},
        {"dtype": "float64"},
        {"dtype": "object"},
        {"sha256": "0" * 63},
        {"sha256": "G" * 64},
        {"sha256": "0" * 64 + "\n"},
        {"sha256": "../" + "0" * 61},
        {"path": "/etc/passwd"},
    ],
)
def test_a_reference_must_be_plausible(change: dict[str, object]) -> None:
    array = np.zeros((2, 3), np.float32)
    valid = reference(array, encode(array)).model_dump()
    assert TensorRef(**valid)
    with pytest.raises(ValidationError):
        TensorRef(**valid | change)
