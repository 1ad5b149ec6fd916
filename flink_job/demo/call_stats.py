"""What the endpoint counts, readable from any thread."""

import threading
from collections import Counter
from typing import Any


class CallStats:
    """Counts of chat-completion calls. Every method is thread-safe and atomic."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_flight = 0
        self._max_concurrent = 0
        self._clear()

    def reset(self) -> None:
        """Count from zero again; attempts too. Calls in flight stay in flight."""
        with self._lock:
            self._clear()

    def begin(self) -> None:
        """Count a call that came in; `end` must follow."""
        with self._lock:
            self._received += 1
            self._in_flight += 1
            self._max_concurrent = max(self._max_concurrent, self._in_flight)

    def end(self, status: int | None) -> None:
        """Count the end of a call: its HTTP status, or None if the caller left before it."""
        with self._lock:
            self._in_flight -= 1
            if status is None:
                self._abandoned += 1
            else:
                self._by_status[status] += 1

    def attempt(self, key: str) -> int:
        """Count an attempt at a text and return how many came before it."""
        with self._lock:
            before = self._attempts[key]
            self._attempts[key] = before + 1
            return before

    def fail(self, kind: str) -> None:
        """Count a simulated failure when it is decided, even if the caller leaves before it."""
        with self._lock:
            self._failures[kind] += 1

    def spend(self, tokens_in: int, tokens_out: int, *, labelled: bool) -> None:
        """Count an answer with status 200: its tokens, and whether it was a label."""
        with self._lock:
            self._tokens_in += tokens_in
            self._tokens_out += tokens_out
            if labelled:
                self._answered += 1
            else:
                self._unlabelled += 1

    def snapshot(self) -> dict[str, Any]:
        """Return all counts, fit for JSON.

        Returns
        -------
        dict
            ``received`` calls; ``answered`` with a label; ``unlabelled`` answers with status 200,
            which are nonsense and unknown texts; ``abandoned`` by the caller; ``failures`` by kind;
            ``by_status``, where a dropped connection counts as 444; ``tokens_in``; ``tokens_out``;
            ``in_flight`` now; ``max_concurrent``; ``distinct_posts``.
        """
        with self._lock:
            return {
                "received": self._received,
                "answered": self._answered,
                "unlabelled": self._unlabelled,
                "abandoned": self._abandoned,
                "failures": dict(self._failures),
                "by_status": {str(status): n for status, n in sorted(self._by_status.items())},
                "tokens_in": self._tokens_in,
                "tokens_out": self._tokens_out,
                "in_flight": self._in_flight,
                "max_concurrent": self._max_concurrent,
                "distinct_posts": len(self._attempts),
            }

    def _clear(self) -> None:
        self._received = 0
        self._answered = 0
        self._unlabelled = 0
        self._abandoned = 0
        self._failures: Counter[str] = Counter()
        self._by_status: Counter[int] = Counter()
        self._tokens_in = 0
        self._tokens_out = 0
        self._max_concurrent = self._in_flight
        self._attempts: Counter[str] = Counter()
