"""How one post is written: sentences of the grammar, then the mess of real typing."""

import random
import re
from collections import ChainMap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from flink_job.demo.eras import Era
from flink_job.demo.grammar import Rules, expand
from flink_job.demo.phrases import SHARED

Tone = Literal["plain", "heated", "ambiguous", "abusive"]

MIN_WORDS = 3
MAX_WORDS = 60

# What may join the sentences: a mention, a hashtag and an emoji; "RT @author:" and one emoji more
# where the post is reposted.
_SENTENCES_MAX_WORDS = MAX_WORDS - 6
_EXTRA_SENTENCES = (0, 0, 0, 1, 1, 2, 3)
_SENTENCE_ENDS = (". ", ". ", "! ", " ... ", "? ", " - ", "\n")

_LOWER_RATE = 0.5
_SHOUT_RATE = 0.04
_HASHTAG_RATE = 0.3
_EMOJI_RATE = 0.25
_BENIGN_ANGRY_EMOJI_RATE = 0.3
# Abuse addresses people and disguises its words more often, but other tones do so too.
_MENTION_RATE: dict[Tone, float] = {
    "plain": 0.2,
    "heated": 0.4,
    "ambiguous": 0.6,
    "abusive": 0.45,
}
_DISGUISE_RATE: dict[Tone, float] = {
    "plain": 0.0,
    "heated": 0.05,
    "ambiguous": 0.0,
    "abusive": 0.2,
}
_LEETSPEAK = str.maketrans({"i": "1", "o": "0", "e": "3", "a": "4"})
# Leaves alone the "of" in an insult of several words.
_SHORTEST_DISGUISED = 3
_TYPO_RATE = 0.015
_SHORTEST_MISTYPED = 5
_A_BEFORE_VOWEL = re.compile(r"\b([Aa])(?= [aeiou])")


@dataclass(frozen=True, slots=True)
class Draft:
    """A text and the tone that one of its sentences was written in."""

    text: str
    tone: Tone


def compose(rng: random.Random, era: Era, users: Sequence[str], tone: Tone) -> Draft:
    """Write one post.

    Parameters
    ----------
    rng
        Advanced by an unspecified number of draws.
    era
        Gives the topic, drawn evenly, and the vocabulary of abuse.
    users
        Handles that may be mentioned, without ``@``; not empty.
    tone
        The tone of one sentence; every other sentence is plain.

    Returns
    -------
    Draft
        At least `MIN_WORDS` words, and few enough that a repost stays within `MAX_WORDS`.
    """
    topic = rng.choice(era.topics)
    # The first map wins. Drawing two handles here spares a rule of hundreds for each post.
    handles = tuple(f"@{rng.choice(users)}" for _ in range(2))
    rules: Rules = ChainMap({"user": handles}, dict(topic), dict(era.abuse), dict(SHARED))
    insult_words = {word for insult in era.abuse["insult"] for word in insult.split()}
    insults = {word for word in insult_words if len(word) >= _SHORTEST_DISGUISED}
    typed = _type(rng, _sentences(rng, rules, tone), insults, tone)
    parts = [typed]
    if rng.random() < _MENTION_RATE[tone]:
        parts.insert(0, handles[0])
    if rng.random() < _HASHTAG_RATE:
        parts.append(f"#{expand(rng, rules, 'tag')}")
    if rng.random() < _EMOJI_RATE:
        angry = tone == "abusive" or rng.random() < _BENIGN_ANGRY_EMOJI_RATE
        parts.append(expand(rng, rules, "angry" if angry else "glad"))
    return Draft(text=" ".join(parts), tone=tone)


def _sentences(rng: random.Random, rules: Rules, tone: Tone) -> list[str]:
    sentences = [expand(rng, rules, tone)]
    wanted = 1 + rng.choice(_EXTRA_SENTENCES)
    while len(sentences) < wanted or _words(sentences) < MIN_WORDS:
        extra = expand(rng, rules, "plain")
        if _words([*sentences, extra]) > _SENTENCES_MAX_WORDS:
            break
        sentences.insert(rng.randrange(len(sentences) + 1), extra)
    return [_A_BEFORE_VOWEL.sub(r"\1n", sentence) for sentence in sentences]


def _words(sentences: Sequence[str]) -> int:
    # A dash or an ellipsis between two sentences counts as a word to whoever splits at spaces.
    return sum(len(sentence.split()) + 1 for sentence in sentences) - 1


def _type(rng: random.Random, sentences: list[str], insults: set[str], tone: Tone) -> str:
    if rng.random() >= _LOWER_RATE:
        sentences = [sentence[0].upper() + sentence[1:] for sentence in sentences]
    text = sentences[0]
    for sentence in sentences[1:]:
        text += rng.choice(_SENTENCE_ENDS) + sentence
    shout = rng.random() < _SHOUT_RATE
    words = [_mistype(rng, word, insults, tone) for word in text.split(" ")]
    text = " ".join(words)
    return text.upper() if shout else text


def _mistype(rng: random.Random, word: str, insults: set[str], tone: Tone) -> str:
    if word.strip(".,!?").lower() in insults and rng.random() < _DISGUISE_RATE[tone]:
        return word.translate(_LEETSPEAK)
    plain = len(word) >= _SHORTEST_MISTYPED and word.isalpha()
    if plain and rng.random() < _TYPO_RATE:
        at = rng.randrange(1, len(word) - 1)
        swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        return rng.choice((swapped, word[:at] + word[at + 1 :]))
    return word
