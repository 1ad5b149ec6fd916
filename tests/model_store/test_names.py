import pytest

from model_store.names import is_name, is_tensor_name, release_sequence

HOSTILE = [
    "",
    ".",
    "..",
    "../x",
    "/etc/passwd",
    "a/../b",
    "a..b",
    "a//b",
    "a/",
    "-a",
    "a b",
    "a\n",
    "a\x00",
    "{a}",
    "a:b",
    "a\\b",
    "ä",
    "x" * 101,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_refused(text: str) -> None:
    assert not is_name(text)
    assert not is_tensor_name(text)


@pytest.mark.parametrize("text", ["a", "hate-speech", "v1.2_x", "0", "x" * 100])
def test_plain_names_are_accepted(text: str) -> None:
    assert is_name(text)
    assert is_tensor_name(text)


def test_slashes_belong_to_tensor_names_only() -> None:
    assert is_tensor_name("level2/layer.11/attention/weight")
    assert not is_name("level2/weight")
    assert not is_tensor_name("/".join("a" * 13))


@pytest.mark.parametrize(
    ("text", "sequence"),
    [
        ("r000042-1a2b3c4d5e6f", 42),
        ("r1234567-1a2b3c4d5e6f", 1_234_567),
        ("r42-1a2b3c4d5e6f", None),
        ("r000042-1a2b3c4d5e6f\n", None),
        ("r000042-1A2B3C4D5E6F", None),
        ("../r000042-1a2b3c4d5e6f", None),
        ("r00004\u0662-1a2b3c4d5e6f", None),
    ],
)
def test_release_ids(text: str, sequence: int | None) -> None:
    assert release_sequence(text) == sequence
