from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_job.relay.jetstream import BadMessage, read_message, rewound, subscription

# As the protocol's documentation shows one.
MESSAGE: dict[str, Any] = {
    "did": "did:plc:eygmaihciaxprqvxpfvl6flk",
    "time_us": 1725911162329308,
    "kind": "commit",
    "commit": {
        "rev": "3l3qo2vutsw2b",
        "operation": "create",
        "collection": "app.bsky.feed.post",
        "rkey": "3l3qo2vuowo2b",
        "record": {
            "$type": "app.bsky.feed.post",
            "createdAt": "2024-09-09T19:46:02.102Z",
            "langs": ["en-GB", "de"],
            "text": "so\nit goes é 🛩",
        },
        "cid": "bafyreidwaivazkwu67xztlmuobx35hs2lnfh3kolmgfmucldvhd3sgzcqi",
    },
}


def message(**changes: Any) -> str:
    changed = json.loads(json.dumps(MESSAGE))
    for path, value in changes.items():
        *parents, last = path.split("__")
        inner = changed
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
    return json.dumps(changed)


def test_a_new_post_becomes_a_record_under_its_author() -> None:
    read = read_message(message())
    assert read.time_us == 1725911162329308
    assert read.post is not None
    assert read.post.author == "did:plc:eygmaihciaxprqvxpfvl6flk"
    told = json.loads(read.post.content)
    assert told == {
        "id": "at://did:plc:eygmaihciaxprqvxpfvl6flk/app.bsky.feed.post/3l3qo2vuowo2b",
        "author": "did:plc:eygmaihciaxprqvxpfvl6flk",
        "text": "so\nit goes é 🛩",
        "time": "2024-09-09T19:46:02.102Z",
        "langs": ["en-GB", "de"],
        "time_us": 1725911162329308,
    }
    assert read.post.id == told["id"]
    assert b"\n" not in read.post.content


@pytest.mark.parametrize(
    "other",
    [
        message(commit__operation="update"),
        message(commit__operation="delete"),
        message(commit__collection="app.bsky.feed.like"),
        message(commit__record__text=" \n"),
        json.dumps(
            {"did": "d", "time_us": 1725911162329308, "kind": "identity", "identity": {"seq": 1}}
        ),
        json.dumps(
            {
                "did": "d",
                "time_us": 1725911162329308,
                "kind": "commit",
                "commit": {"operation": "delete", "collection": "app.bsky.feed.post", "rkey": "r"},
            }
        ),
    ],
)
def test_what_is_no_new_post_only_moves_the_cursor(other: str) -> None:
    assert read_message(other).post is None
    assert read_message(other).time_us == 1725911162329308


@pytest.mark.parametrize(
    ("languages", "taken"), [((), True), (("en",), True), (("de", "fr"), True), (("fr",), False)]
)
def test_languages_are_picked_whatever_their_region(
    languages: tuple[str, ...], taken: bool
) -> None:
    assert (read_message(message(), languages).post is not None) is taken


def test_a_post_that_tells_no_language_is_in_none() -> None:
    assert read_message(message(commit__record__langs=None), ["en"]).post is None
    assert read_message(message(commit__record__langs=None)).post is not None


@pytest.mark.parametrize(
    "bad",
    ["", "[]", "{}", "no", '{"did": 1}', message(time_us="x"), message(commit__record__text=5)],
)
def test_what_is_no_message_is_refused(bad: str) -> None:
    with pytest.raises(BadMessage):
        read_message(bad)


@given(st.one_of(st.binary(max_size=50), st.text(max_size=50)))
def test_nothing_else_is_raised(data: str | bytes) -> None:
    with pytest.raises(BadMessage):
        read_message(data)


def test_a_subscription_asks_for_posts_from_a_cursor_on() -> None:
    assert subscription("ws://h/s", None) == "ws://h/s?wantedCollections=app.bsky.feed.post"
    assert subscription("ws://h/s", 7).endswith("&cursor=7")


def test_a_cursor_is_rewound_to_the_beginning_at_most() -> None:
    assert rewound(9_000_000, 5) == 4_000_000
    assert rewound(9, 5) == 0
