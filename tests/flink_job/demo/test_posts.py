"""The stream is repeatable, well-formed, and as hard to learn as it claims."""

import json
import random
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import f1_score

from flink_job.demo.drafts import MAX_WORDS, MIN_WORDS
from flink_job.demo.posts import LABELS, Post, generate, write

COUNT = 6000


@pytest.fixture(scope="module")
def posts() -> list[Post]:
    return list(generate(COUNT, seed=1))


def share(hits: int) -> float:
    return hits / COUNT


def macro_f1(train: list[Post], test: list[Post]) -> float:
    vectorizer = HashingVectorizer(ngram_range=(1, 2), n_features=2**18)
    model = SGDClassifier(loss="log_loss", alpha=1e-5, class_weight="balanced", random_state=0)
    model.fit(vectorizer.transform([p.text for p in train]), [p.label for p in train])
    predicted = model.predict(vectorizer.transform([p.text for p in test]))
    return float(f1_score([p.label for p in test], predicted, average="macro"))


def shuffled(posts: list[Post]) -> list[Post]:
    return random.Random(0).sample(posts, len(posts))


@given(st.integers(), st.integers(1, 80))
@settings(max_examples=25, deadline=None)
def test_same_arguments_same_stream(seed: int, count: int) -> None:
    first = list(generate(count, seed))
    assert len(first) == count
    assert first == list(generate(count, seed))
    assert first != list(generate(count, seed + 1))


def test_another_process_writes_the_same_stream(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from flink_job.demo.posts import write; "
        f"write(Path({str(tmp_path / 'other.jsonl')!r}), 200, 3)"
    )
    root = Path(__file__).parents[3]
    subprocess.run(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-c", code], check=True, cwd=root, env={"PYTHONHASHSEED": "7"}
    )
    write(tmp_path / "here.jsonl", 200, 3)
    assert (tmp_path / "other.jsonl").read_bytes() == (tmp_path / "here.jsonl").read_bytes()


def test_ids_are_unique_also_between_streams(posts: list[Post]) -> None:
    ids = {p.id for p in posts} | {p.id for p in generate(100, seed=2)}
    assert len(ids) == COUNT + 100


def test_time_moves_on_in_bursts(posts: list[Post]) -> None:
    times = [datetime.fromisoformat(p.time) for p in posts]
    assert times[0].utcoffset() == timedelta(0)
    gaps = sorted((b - a).total_seconds() for a, b in pairwise(times))
    assert gaps[0] > 0
    # The gaps of a Poisson process deviate from their mean by the mean.
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert deviation > 1.15 * mean


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_abuse_is_rare(seed: int) -> None:
    labels = Counter(p.label for p in generate(COUNT, seed))
    assert set(labels) == set(LABELS)
    assert 0.09 < share(labels["abusive"]) < 0.15


def test_few_authors_write_most_posts_and_some_are_worse(posts: list[Post]) -> None:
    written = Counter(p.author for p in posts)
    assert len(written) > 300
    assert share(sum(n for _, n in written.most_common(40))) > 0.4
    abusive = Counter(p.author for p in posts if p.label == "abusive")
    rates = [abusive[author] / n for author, n in written.most_common(40)]
    assert min(rates) < 0.05
    assert max(rates) > 0.2


def test_posts_are_reposted(posts: list[Post]) -> None:
    seen: dict[str, str] = {}
    copies = 0
    by_others = 0
    for post in posts:
        original = post.text.split(": ", 1)[1] if post.text.startswith("RT @") else post.text
        # A near copy has one emoji more.
        known = original if original in seen else original.rsplit(" ", 1)[0]
        if known in seen:
            copies += 1
            by_others += seen[known] != post.author
        seen.setdefault(post.text, post.author)
    assert 0.025 < share(copies) < 0.08
    assert by_others > copies / 2
    assert len({p.text for p in posts}) > 0.95 * COUNT


def test_a_retweet_is_answered_like_its_original(posts: list[Post]) -> None:
    first = {p.text: p for p in reversed(posts)}
    retweets = 0
    for post in posts:
        if post.text.startswith("RT @"):
            original = first[post.text.split(": ", 1)[1]]
            assert (post.label, post.expert) == (original.label, original.expert)
            retweets += 1
    assert retweets > 20


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_equal_texts_have_one_label_and_one_answer(seed: int) -> None:
    known: dict[str, tuple[str, str]] = {}
    for post in generate(COUNT, seed):
        assert known.setdefault(post.text, (post.label, post.expert)) == (post.label, post.expert)


@given(st.integers(), st.integers(1, 150))
@settings(max_examples=25, deadline=None)
def test_texts_are_of_the_promised_length_and_leave_no_slot(seed: int, count: int) -> None:
    for post in generate(count, seed):
        assert MIN_WORDS <= len(post.text.split()) <= MAX_WORDS
        assert not set(post.text) & set("{}|")


def test_the_expert_errs_a_little_in_both_directions(posts: list[Post]) -> None:
    errors = Counter((p.label, p.expert) for p in posts if p.label != p.expert)
    assert 0.03 < share(errors.total()) < 0.07
    assert errors["ok", "abusive"] > 50
    assert errors["abusive", "ok"] > 50


def test_learnable_but_not_trivially(posts: list[Post]) -> None:
    mixed = shuffled(posts)
    assert 0.75 < macro_f1(mixed[:4500], mixed[4500:]) < 0.97


def test_what_is_learned_from_the_first_half_fails_on_the_second(posts: list[Post]) -> None:
    half = COUNT // 2
    first = shuffled(posts[:half])
    train, held_out = first[:2000], first[2000:]
    assert macro_f1(train, posts[half:]) < macro_f1(train, held_out) - 0.1


def test_the_file_holds_the_stream_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "posts.jsonl"
    path.write_text("old", encoding="utf-8")
    write(path, 50, seed=4)
    lines = path.read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert [Post(**json.loads(line)) for line in lines] == list(generate(50, seed=4))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("count", [0, -1])
def test_no_empty_streams(count: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Operator action"):
        generate(count, seed=1)
    with pytest.raises(ValueError, match="Operator action"):
        write(tmp_path / "posts.jsonl", count, seed=1)
    assert not list(tmp_path.iterdir())
