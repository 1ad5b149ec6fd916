"""The head's steps, against torch's own Adam."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from operators.levels.encoder.head import Head


def test_steps_are_those_of_adam_with_a_penalty_on_the_weights() -> None:
    random = np.random.default_rng(0)
    rate, l2, dimension, labels = 0.01, 0.05, 5, 3
    head = Head(dimension, labels, rate, l2)
    weights = torch.zeros(dimension, labels, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(labels, dtype=torch.float64, requires_grad=True)
    groups: list[dict[str, Any]] = [
        {"params": [weights], "weight_decay": l2},
        {"params": [bias]},
    ]
    adam = torch.optim.Adam(groups, lr=rate)
    for _ in range(50):
        inputs = random.normal(size=(8, dimension)).astype(np.float32)
        targets = random.integers(labels, size=8)
        head.step(inputs, targets)
        adam.zero_grad()
        logits = torch.from_numpy(inputs).double() @ weights + bias
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets))
        loss.backward()  # type: ignore[no-untyped-call]  # torch carries no type here
        adam.step()
    assert head.tensors()["weights"] == pytest.approx(weights.detach().numpy(), abs=1e-6)
    assert head.tensors()["bias"] == pytest.approx(bias.detach().numpy(), abs=1e-6)


def test_what_is_predicted_is_what_would_be_published() -> None:
    head = Head(2, 2, 0.1, 0)
    inputs = np.array([[1, 2], [-1, 3]], np.float32)
    for _ in range(7):
        head.step(inputs, np.array([0, 1]))
    heir = Head(2, 2, 0.1, 0)
    heir.adopt(head.tensors())
    assert np.array_equal(heir.predict(inputs), head.predict(inputs))
