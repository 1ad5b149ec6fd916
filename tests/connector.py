"""Unpacks the Kafka connector out of the wheel that was downloaded into a folder.

The wheel must not be installed: it would replace the jars that PyFlink brings.
"""

import sys
import zipfile
from pathlib import Path

JARS = ("flink-connector-kafka.jar", "kafka-clients.jar")


def unpack(folder: Path) -> None:
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for jar in JARS:
            (folder / jar).write_bytes(archive.read(f"pyflink/lib/{jar}"))
    wheel.unlink()


if __name__ == "__main__":
    unpack(Path(sys.argv[1]))
