"""Embeddings kept on disk: an encoder that is not fine-tuned says the same in every run."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from operators.assembly import PARTS, Parts
from operators.levels.encoder.artifact import obtain
from operators.levels.encoder.learning import EncoderLearner
from operators.levels.encoder.serving import EncoderLevel
from operators.levels.encoder.session import HEAD_BIAS, HEAD_WEIGHTS, Encoder, FloatArray, Weights
from operators.levels.port import Learner, Level
from operators.levels.regression import softmax
from operators.settings import EncoderSettings, LinearSettings

_KEY_BYTES = 16


class RememberingEncoder(Encoder):
    """Computes the embedding of each text once, and keeps it in a file.

    Embeddings may differ from those of the plain encoder in their last digits, since these depend
    on the other texts of a batch.

    Parameters
    ----------
    folder
        Where the file lies; one for each base model, length of texts and data set.
    name
        Of the data set.

    Raises
    ------
    ValueError
        If layers are to be fine-tuned: then a text has no embedding of its own.
    """

    def __init__(self, settings: EncoderSettings, folder: Path, name: str) -> None:
        if settings.top_layers:
            message = "a study remembers embeddings: it can not fine-tune; use `top_layers: 0`"
            raise ValueError(message)
        super().__init__(obtain(settings), settings)
        model = self.artifact.folder.name
        self._file = folder / f"{name}-{model}-{settings.max_tokens}-ends.npz"
        self._known = _load(self._file)

    def embed(self, texts: Sequence[str], layers: Weights) -> FloatArray:
        """Embeddings, remembered ones among them."""
        keys = [_key(text) for text in texts]
        missing = {k: t for k, t in zip(keys, texts, strict=True) if k not in self._known}
        if missing:
            made = super().embed(list(missing.values()), layers)
            self._known |= zip(missing, made, strict=True)
        return np.array([self._known[key] for key in keys], np.float32).reshape(-1, self.dimension)

    def classify(self, texts: Sequence[str], weights: Weights, labels: int) -> FloatArray:
        """Probabilities by the head, which is cheap."""
        head, bias = weights[HEAD_WEIGHTS].numpy(), weights[HEAD_BIAS].numpy()
        layers = {name: value for name, value in weights.items() if not name.startswith("head/")}
        return softmax(self.embed(texts, layers) @ head + bias).astype(np.float32)

    def fill(self, texts: Sequence[str]) -> None:
        """Compute what is not there yet, and write the file."""
        before = len(self._known)
        self.embed(texts, self.bind(self.artifact.trainable()))
        if len(self._known) > before:
            _save(self._file, self._known)


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_KEY_BYTES).digest()


def _load(file: Path) -> dict[bytes, npt.NDArray[np.float32]]:
    if not file.exists():
        return {}
    with np.load(file, allow_pickle=False) as stored:
        keys, embeddings = stored["keys"], stored["embeddings"]
    return {key.tobytes(): row for key, row in zip(keys, embeddings, strict=True)}


def _save(file: Path, known: dict[bytes, npt.NDArray[np.float32]]) -> None:
    """Write whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    keys = np.frombuffer(b"".join(known), np.uint8).reshape(-1, _KEY_BYTES)
    with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".part", delete=False) as made:
        np.savez(made, keys=keys, embeddings=np.array(list(known.values()), np.float32))
    Path(made.name).replace(file)


@lru_cache(maxsize=4)
def remembering(settings: EncoderSettings, folder: Path, name: str) -> RememberingEncoder:
    """The encoder of these settings for a data set; a process has one."""
    return RememberingEncoder(settings, folder, name)


def on_remembered(open_encoder: Callable[[EncoderSettings], Encoder]) -> Parts:
    """The product's parts, with encoder levels on an encoder that is opened like this."""

    def level(settings: LinearSettings | EncoderSettings, labels: int) -> Level:
        if isinstance(settings, EncoderSettings):
            return EncoderLevel(settings.name, open_encoder(settings), labels)
        return PARTS.level(settings, labels)

    def learner(settings: LinearSettings | EncoderSettings, labels: int, seed: int) -> Learner:
        if isinstance(settings, EncoderSettings):
            return EncoderLearner(settings, open_encoder(settings), labels, seed)
        return PARTS.learner(settings, labels, seed)

    return Parts(level=level, learner=learner)
