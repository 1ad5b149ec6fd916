import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.errors import ManifestInvalid
from model_store.manifest import MAX_MANIFEST_BYTES, Manifest, StatValue
from model_store.names import is_name, is_tensor_name, release_sequence
from model_store.tensors import TensorRef, encode, reference

ARRAY = np.zeros((2, 3), np.float32)
REF = reference(ARRAY, encode(ARRAY))
CONTENT: dict[str, Any] = {
    "task": "hate",
    "parent": None,
    "sequence": 42,
    "created": datetime(2025, 1, 1, tzinfo=UTC),
    "tensors": {"level1/weight": REF},
    "stats": {"agreement": 0.75},
}

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True).filter(is_name)
tensor_names = st.lists(names, min_size=1, max_size=4).map("/".join).filter(is_tensor_name)
stat_values = (
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
)


def seal(**change: Any) -> Manifest:
    return Manifest.seal(**CONTENT | change)


def read(data: bytes, task: str = "hate", release: str | None = None) -> Manifest:
    return Manifest.from_bytes(data, task=task, release=release or seal().release)


@given(
    task=names,
    parent=st.none() | st.from_regex(r"r[0-9]{6}-[0-9a-f]{12}", fullmatch=True),
    sequence=st.integers(1, 10**12 - 1),
    created=st.datetimes(timezones=st.timezones(), min_value=datetime(1970, 1, 2)),  # noqa: DTZ001  # hypothesis wants it naive
    tensors=st.dictionaries(tensor_names, st.just(REF), min_size=1, max_size=5),
    stats=st.dictionaries(names, stat_values, max_size=5),
)
def test_round_trip(
    task: str,
    parent: str | None,
    sequence: int,
    created: datetime,
    tensors: dict[str, TensorRef],
    stats: dict[str, StatValue],
) -> None:
    manifest = Manifest.seal(
        task=task, parent=parent, sequence=sequence, created=created, tensors=tensors, stats=stats
    )
    data = manifest.to_bytes()
    again = Manifest.from_bytes(data, task=task, release=manifest.release)
    assert again == manifest
    assert again.to_bytes() == data
    # Not the times themselves: one that a clock shows twice equals none of another zone.
    assert again.created == created.astimezone(UTC)
    assert again.created.tzinfo is UTC
    assert {name: type(value) for name, value in again.stats.items()} == {
        name: type(value) for name, value in stats.items()
    }
    assert release_sequence(manifest.release) == sequence


def test_the_id_is_readable_and_ordered() -> None:
    ids = [seal(sequence=sequence).release for sequence in (1, 9, 10, 42, 999_999)]
    assert ids == sorted(ids)
    assert ids[3].startswith("r000042-")


@pytest.mark.parametrize(
    "change",
    [
        {"task": "other"},
        {"parent": "r000041-1a2b3c4d5e6f"},
        {"created": datetime(2025, 1, 1, 0, 0, 1, tzinfo=UTC)},
        {"tensors": {"level1/bias": REF}},
        {"stats": {"agreement": 0.76}},
        {"stats": {}},
    ],
)
def test_the_id_depends_on_all_of_the_content(change: dict[str, Any]) -> None:
    assert seal(**change).release != seal().release


def test_the_id_does_not_depend_on_the_order_of_names_or_the_time_zone() -> None:
    berlin = timezone(timedelta(hours=1))
    one = seal(tensors={"a": REF, "b": REF}, created=datetime(2025, 1, 1, 1, tzinfo=berlin))
    two = seal(tensors={"b": REF, "a": REF})
    assert one.release == two.release


@pytest.mark.parametrize("field", ["task", "parent", "sequence", "created", "tensors", "stats"])
def test_a_manifest_altered_under_its_id_is_refused(field: str) -> None:
    other = seal(
        task="other",
        parent="r000041-1a2b3c4d5e6f",
        sequence=43,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        tensors={"level1/bias": REF},
        stats={"agreement": 1},
    )
    content = json.loads(seal().to_bytes())
    content[field] = json.loads(other.to_bytes())[field]
    with pytest.raises(ManifestInvalid, match="the id does not fit the content"):
        read(json.dumps(content).encode())


@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b"{}", b"\xff\xfe", b'{"schema_version":1', b"[" * 100_000],
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(ManifestInvalid, match="Operator action"):
        read(data)


def test_unknown_versions_and_fields_are_refused() -> None:
    content = json.loads(seal().to_bytes())
    for change in ({"schema_version": 2}, {"code": "import os"}):
        with pytest.raises(ManifestInvalid):
            read(json.dumps(content | change).encode())


def test_a_manifest_of_another_task_or_release_is_refused() -> None:
    with pytest.raises(ManifestInvalid, match="belongs to task 'hate'"):
        read(seal().to_bytes(), task="other")
    with pytest.raises(ManifestInvalid, match="is that of release"):
        read(seal(sequence=43).to_bytes())


def test_a_manifest_above_the_limit_is_refused_unread() -> None:
    with pytest.raises(ManifestInvalid, match="bytes"):
        read(b" " * MAX_MANIFEST_BYTES + seal().to_bytes())


def test_a_manifest_that_no_reader_would_take_is_not_sealed() -> None:
    names = [f"{'x' * 90}{i:04d}" for i in range(2000)]
    tensors = {"/".join([name] * 6): REF for name in names}
    with pytest.raises(ManifestInvalid, match="bytes"):
        seal(tensors=tensors)


@pytest.mark.parametrize(
    "change",
    [
        {"task": "../hate"},
        {"task": "a:b"},
        {"parent": "latest"},
        {"parent": "../r000041-1a2b3c4d5e6f"},
        {"sequence": 0},
        {"sequence": 10**12},
        {"created": datetime(2025, 1, 1)},  # noqa: DTZ001  # naive on purpose
        {"tensors": {}},
        {"tensors": {"../weight": REF}},
        {"tensors": {"/weight": REF}},
        {"tensors": {"a/../../b": REF}},
        {"stats": {"a/b": 1}},
        {"stats": {"loss": float("nan")}},
        {"stats": {"loss": float("inf")}},
        {"stats": {"ok": True}},
        {"stats": {"ok": None}},
        {"stats": {"note": "x" * 1001}},
    ],
)
def test_malformed_content_is_not_sealed(change: dict[str, Any]) -> None:
    with pytest.raises(ManifestInvalid, match="Operator action"):
        seal(**change)


def test_a_manifest_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        seal().task = "other"  # type: ignore[misc]  # what is tested
