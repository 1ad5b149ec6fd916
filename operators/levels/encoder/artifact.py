"""An exported encoder on disk: made once for each base model, found by the hash of its content."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from operators.levels.encoder.errors import EncoderUnavailable
from operators.levels.encoder.source import TOKENIZER, digest, digest_of, locate
from operators.settings import EncoderSettings

GRAPH, META, TRAINABLE = "model.onnx", "meta.json", "trainable.safetensors"
FORMAT = 4  # raise when the export changes: graphs of another format are left alone
_CACHE = Path("~/.cache/flink-online-cascade")


class TrainableTensor(msgspec.Struct, frozen=True):
    """A tensor of the top layers, an input of the graph under this name.

    Parameters
    ----------
    name
        Of the parameter in the base model, and of the graph's input.
    shape
        In the graph.
    transposed
        Whether the graph holds the parameter transposed.
    """

    name: str
    shape: tuple[int, ...]
    transposed: bool


class Meta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be known of a graph without opening it.

    Parameters
    ----------
    dimension
        Of the embedding.
    pad_id
        Token that fills a batch up.
    max_tokens
        Longest text that the model can read.
    sha256
        Of the graph's file.
    """

    dimension: int
    pad_id: int
    max_tokens: int
    trainable: tuple[TrainableTensor, ...]
    sha256: str


@dataclass(frozen=True)
class Artifact:
    """An exported encoder, checked.

    Parameters
    ----------
    folder
        Where the graph lies.
    source
        Where the base model lies that it was made of.
    """

    folder: Path
    source: Path
    meta: Meta

    @property
    def graph(self) -> Path:
        """File of the ONNX graph."""
        return self.folder / GRAPH

    @property
    def tokenizer(self) -> Path:
        """File of the tokenizer."""
        return self.folder / TOKENIZER

    def trainable(self) -> dict[str, npt.NDArray[Any]]:
        """The top layers' tensors as the base model has them, in the graph's layout."""
        loaded = safetensors.load_file(self.folder / TRAINABLE)
        return {tensor.name: loaded[tensor.name] for tensor in self.meta.trainable}


def obtain(settings: EncoderSettings) -> Artifact:
    """Find the exported encoder, or export it.

    Safe to be called by many processes at once: each writes a folder of its own, and the first
    to finish puts it in place.

    Raises
    ------
    EncoderUnavailable
        If the base model is not there or can not be exported, or the exported graph is damaged.
    """
    source = locate(settings.model, settings.revision)
    root = (settings.cache or _CACHE).expanduser() / "encoders"
    name = f"{digest(source)[:32]}-{settings.pooling}-top{settings.top_layers}"
    artifact = _found(
        root / f"{name}-v{FORMAT}", source, lambda made: _export(source, made, settings)
    )
    if settings.max_tokens > artifact.meta.max_tokens:
        raise EncoderUnavailable(
            f"Encoder {settings.model!r} reads at most {artifact.meta.max_tokens} tokens.",
            f"set `max_tokens` of level {settings.name!r} to that or less.",
        )
    precision = settings.precision
    if precision == "fp32":
        return artifact
    return _found(
        root / f"{name}-{precision}-v{FORMAT}",
        source,
        lambda made: _reduce(artifact, precision, made),
    )


def _found(folder: Path, source: Path, make: Callable[[Path], None]) -> Artifact:
    """Read an artifact, and have it made before where it is missing."""
    if not (folder / META).is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="making-") as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            make(made)
            try:
                made.rename(folder)
            except OSError:
                if not (folder / META).is_file():  # else another process was faster
                    raise
    return _read(folder, source)


def _export(source: Path, made: Path, settings: EncoderSettings) -> None:
    try:
        # torch is asked for only where a graph is missing
        from operators.levels.encoder.export import export
    except ImportError as error:
        raise EncoderUnavailable(
            f"{source} was not exported yet, and exporting it needs {error.name}.",
            "pip install 'flink-online-cascade[encoder]', or copy the cache from a machine "
            "where the encoder has run.",
        ) from error
    export(source, made, settings.top_layers, settings.pooling)


def _reduce(artifact: Artifact, precision: Literal["fp16", "int8"], made: Path) -> None:
    from operators.levels.encoder.precision import reduce

    reduce(artifact, precision, made)


def write_meta(folder: Path, meta: Meta) -> None:
    """Describe a graph; the last file that an export writes."""
    (folder / META).write_bytes(msgspec.json.encode(meta))


def _read(folder: Path, source: Path) -> Artifact:
    try:
        meta = msgspec.json.decode((folder / META).read_bytes(), type=Meta)
        sound = digest_of(folder / GRAPH) == meta.sha256
        artifact = Artifact(folder, source, meta)
        tensors = artifact.trainable()
    except (OSError, msgspec.MsgspecError, KeyError, SafetensorError) as error:
        raise _damaged(folder) from error
    fits = all(
        tensors[tensor.name].shape == tensor.shape and tensors[tensor.name].dtype == np.float32
        for tensor in meta.trainable
    )
    if not (sound and fits):
        raise _damaged(folder)
    return artifact


def _damaged(folder: Path) -> EncoderUnavailable:
    return EncoderUnavailable(
        f"The exported encoder in {folder} is damaged.",
        "delete that folder; it is made anew from the base model.",
    )
