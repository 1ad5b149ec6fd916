"""One tensor as bytes, and back without trust.

A blob is a safetensors file with one tensor and no metadata; its address is the sha256 of its
bytes. The same array always gives the same bytes, so equal tensors are stored once, whatever
their names and releases.
"""

import hashlib
from math import prod
from typing import Annotated, Any, Final, Literal, Self, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load, save

from model_store.errors import BlobCorrupt, TensorMismatch

Array: TypeAlias = npt.NDArray[Any]
DType: TypeAlias = Literal["float32", "float16", "int32", "int64"]
Sha256: TypeAlias = Annotated[str, StringConstraints(pattern=r"\A[0-9a-f]{64}\z")]

DTYPES: Final = frozenset(get_args(DType))
# Twice the word embeddings of a large BERT, and half of what Redis takes as one value.
MAX_BLOB_BYTES: Final = 256 * 1024 * 1024
MAX_DIMENSIONS: Final = 8
# The JSON header of a blob with one tensor stays far below this; what is above is no tensor.
_MAX_HEADER_BYTES: Final = 1024
# One name inside every blob: the name a release gives a tensor must not change its address.
_INNER_NAME: Final = "tensor"


class TensorRef(BaseModel):
    """What a release says about a tensor before its bytes are fetched.

    Attributes
    ----------
    sha256
        Of the encoded blob, 64 lower-case hex digits.
    dtype, shape
        Of the array.
    nbytes
        Length of the encoded blob, header included; held against dtype and shape, so that a small
        claim cannot hide a large blob, nor a large claim make anybody allocate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    sha256: Sha256
    dtype: DType
    shape: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...],
        Field(max_length=MAX_DIMENSIONS),
    ]
    nbytes: Annotated[int, Field(gt=0, le=MAX_BLOB_BYTES)]

    @model_validator(mode="after")
    def _size_is_plausible(self) -> Self:
        data_bytes = prod(self.shape) * np.dtype(self.dtype).itemsize
        if not data_bytes < self.nbytes <= data_bytes + _MAX_HEADER_BYTES:
            msg = f"{self.nbytes} bytes cannot hold {self.dtype} of shape {self.shape}"
            raise ValueError(msg)
        return self


def encode(array: Array, *, name: str = _INNER_NAME) -> bytes:
    """Return the blob of `array`: equal arrays give equal bytes, whatever their memory layout.

    Parameters
    ----------
    array
        Of a dtype in `DTYPES`, any byte order, finite.
    name
        For the error text only.

    Raises
    ------
    TensorMismatch
        On a dtype, size or value that no reader would accept.
    """
    _check_values(array, name)
    if array.ndim > MAX_DIMENSIONS:
        raise TensorMismatch(name, f"{array.ndim} dimensions, at most {MAX_DIMENSIONS}")
    # safetensors copies the raw buffer: a transposed view would be stored in the wrong order.
    plain = np.array(array, dtype=array.dtype.newbyteorder("<"), order="C")
    if plain.nbytes + _MAX_HEADER_BYTES > MAX_BLOB_BYTES:
        raise TensorMismatch(name, f"{plain.nbytes} bytes, the limit is {MAX_BLOB_BYTES}")
    return save({_INNER_NAME: plain})


def reference(array: Array, blob: bytes) -> TensorRef:
    """Return the reference to `array`, where `blob` is what `encode` made of it."""
    return TensorRef(
        sha256=hashlib.sha256(blob).hexdigest(),
        # Strict validation turns away what `encode` would not have let through.
        dtype=array.dtype.name,  # type: ignore[arg-type]  # checked against DTYPES by pydantic
        shape=array.shape,
        nbytes=len(blob),
    )


def decode(blob: bytes, ref: TensorRef, *, name: str = _INNER_NAME) -> Array:
    """Return the array in `blob`, if it is exactly what `ref` says.

    Parameters
    ----------
    blob
        Untrusted bytes. Length and hash are checked before anything is parsed.
    ref
        From a valid manifest.
    name
        For the error text only.

    Returns
    -------
    ndarray
        Of ``ref.dtype`` and ``ref.shape``, finite, owning its memory. Read-only: a release is
        immutable and its arrays are shared between releases, so copy before training on one.

    Raises
    ------
    BlobCorrupt
        On a wrong length or hash, and on bytes that are no tensor.
    TensorMismatch
        On another dtype or shape than promised, and on values that are not finite.
    """
    if len(blob) != ref.nbytes:
        raise BlobCorrupt(name, ref.sha256, f"{len(blob)} bytes instead of {ref.nbytes}")
    if hashlib.sha256(blob).hexdigest() != ref.sha256:
        raise BlobCorrupt(name, ref.sha256, "its bytes have another hash")
    try:
        content = load(blob)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        # KeyError and TypeError: safetensors knows dtypes that numpy does not.
        raise BlobCorrupt(name, ref.sha256, "it is no safetensors file") from error
    if set(content) != {_INNER_NAME}:
        raise BlobCorrupt(name, ref.sha256, f"it holds {len(content)} tensors, not the one")
    array: Array = np.array(content[_INNER_NAME], order="C")
    check(array, ref, name=name)
    _check_values(array, name)
    array.setflags(write=False)
    return array


def check(array: Array, ref: TensorRef, *, name: str) -> None:
    """Raise `TensorMismatch` unless `array` has the dtype and shape that `ref` promises."""
    if array.dtype.name != ref.dtype or array.shape != ref.shape:
        found = f"{array.dtype.name} of shape {array.shape}"
        raise TensorMismatch(name, f"{found} instead of {ref.dtype} of shape {ref.shape}")


def _check_values(array: Array, name: str) -> None:
    if array.dtype.name not in DTYPES:
        raise TensorMismatch(name, f"dtype {array.dtype.name} is none of {sorted(DTYPES)}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise TensorMismatch(name, "it holds NaN or infinity")
