"""Where the base model's files are: a folder of the machine, or a snapshot from the hub."""

from __future__ import annotations

import hashlib
from pathlib import Path

from operators.levels.encoder.errors import EncoderUnavailable

CONFIG, TOKENIZER = "config.json", "tokenizer.json"
WEIGHTS_PATTERN = "*.safetensors"  # never a pickle: a foreign model must not be able to run code
_PATTERNS = (CONFIG, TOKENIZER, "model*.safetensors", "model.safetensors.index.json")
_READ_BYTES = 1 << 20


def locate(model: str, revision: str | None) -> Path:
    """Folder with the files of a base model, fetched from the hub if it is no local folder.

    Raises
    ------
    EncoderUnavailable
        If there is no such model, or a file of it is missing.
    """
    folder = Path(model).expanduser()
    if not folder.is_dir():
        folder = _from_hub(model, revision)
    missing = [name for name in (CONFIG, TOKENIZER) if not (folder / name).is_file()]
    if not any(folder.glob(WEIGHTS_PATTERN)):
        missing.append(WEIGHTS_PATTERN)
    if missing:
        raise EncoderUnavailable(
            f"Encoder {model!r} lacks {', '.join(missing)} in {folder}.",
            "name a folder or hub model with a config, safetensors weights and a fast tokenizer.",
        )
    return folder


def _from_hub(model: str, revision: str | None) -> Path:
    # Comes with the encoder extra, and is of no use where all models are local folders.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        found = snapshot_download(model, revision=revision, allow_patterns=list(_PATTERNS))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise EncoderUnavailable(
            f"Encoder {model!r} is no folder here, and the hub did not give it: {error}.",
            "correct `model`, or download it where there is a network and name the folder.",
        ) from error
    return Path(found)


def digest(folder: Path) -> str:
    """Hash of everything that the exported graph depends on: config, tokenizer and weights."""
    total = hashlib.sha256()
    weights = sorted(folder.glob(WEIGHTS_PATTERN))
    for path in (folder / CONFIG, folder / TOKENIZER, *weights):
        total.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        total.update(bytes.fromhex(digest_of(path)))
    return total.hexdigest()


def digest_of(path: Path) -> str:
    """Compute the sha256 of a file, as hex."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            total.update(piece)
    return total.hexdigest()
