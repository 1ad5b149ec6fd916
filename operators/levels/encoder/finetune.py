"""Online fine-tuning of an encoder's top layers with torch: AdamW, a round of steps at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from operators.levels.encoder.artifact import Artifact
from operators.levels.encoder.head import FloatArray
from operators.levels.encoder.pooled import load, top_parameters
from operators.levels.encoder.tokens import Tokens, padded
from operators.levels.encoder.tuning import LAYER, Batch, Round
from operators.levels.port import Tensors, under
from operators.settings import EncoderSettings

_MOMENTS = ("exp_avg", "exp_avg_sq")  # torch's names of AdamW's state, beside the step
_LARGEST_NORM = 1.0  # of a step's gradient: one odd batch must not undo what was learned


class Tuner:
    """Takes gradient steps on the top layers; the head is taken as it is, and learns elsewhere.

    No dropout, and no draw of its own: the same round from the same state makes the same state.

    Parameters
    ----------
    monotonic
        The clock, in seconds.
    embed
        Embeds texts under layers where torch's embeddings are not those that are served; None
        where they are.
    """

    def __init__(
        self,
        artifact: Artifact,
        tokens: Tokens,
        settings: EncoderSettings,
        monotonic: Callable[[], float],
        embed: Callable[[Sequence[str], Tensors], FloatArray] | None = None,
    ) -> None:
        self._artifact = artifact
        self._tokens = tokens
        self._settings = settings.finetune
        self._threads = settings.threads
        self._monotonic = monotonic
        self._embed = embed
        self._model = load(artifact.source, settings.pooling)
        self._model.requires_grad_(False)
        self._layers = top_parameters(self._model, settings.top_layers)
        for parameter in self._layers.values():
            parameter.requires_grad_(True)
        self._optimizer = self._fresh_optimizer()
        self._holds: Tensors | None = None  # the state that model and optimizer are in

    def _fresh_optimizer(self) -> torch.optim.AdamW:
        chosen = self._settings
        parameters = [self._layers[tensor.name] for tensor in self._artifact.meta.trainable]
        return torch.optim.AdamW(parameters, lr=chosen.rate, weight_decay=chosen.decay)

    def round(self, state: Tensors, batches: Sequence[Batch], head: Tensors) -> Round:
        """Take a step on the log loss of each batch. Not to be called by two threads at once."""
        began_s = self._monotonic()
        if state is not self._holds:
            self._write(state)
        with _threads(self._threads):
            embeddings = [self._step(batch, head) for batch in batches]
        made = self._read()
        sound = all(np.isfinite(value).all() for value in made.values())
        self._holds = made if sound else None
        if self._embed is not None:
            layers = under(LAYER, made)
            embeddings = [self._embed(batch.texts, layers) for batch in batches]
        seconds = self._monotonic() - began_s
        # One step astray would poison all that come after it.
        return Round(made, embeddings, seconds) if sound else Round(state, (), seconds)

    def _step(self, batch: Batch, head: Tensors) -> FloatArray:
        ids, mask = padded(self._tokens(batch.texts), self._artifact.meta.pad_id)
        embeddings = self._model(torch.from_numpy(ids), torch.from_numpy(mask))
        logits = embeddings @ torch.from_numpy(head["weights"]) + torch.from_numpy(head["bias"])
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(batch.labels))
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch carries no type here
        torch.nn.utils.clip_grad_norm_(self._layers.values(), _LARGEST_NORM)
        self._optimizer.step()
        return np.asarray(embeddings.detach().numpy())

    def _read(self) -> dict[str, npt.NDArray[Any]]:
        state: dict[str, npt.NDArray[Any]] = {}
        for tensor in self._artifact.meta.trainable:
            parameter = self._layers[tensor.name]
            value = parameter.detach().numpy()
            state[f"{LAYER}/{tensor.name}"] = np.array(
                value.T if tensor.transposed else value, order="C"
            )
            own = self._optimizer.state[parameter]
            state[f"step/{tensor.name}"] = np.array([int(own["step"])], np.int64)
            for moment in _MOMENTS:
                state[f"{moment}/{tensor.name}"] = own[moment].numpy().copy()
        return state

    @torch.no_grad()
    def _write(self, state: Tensors) -> None:
        self._optimizer = self._fresh_optimizer()
        for tensor in self._artifact.meta.trainable:
            parameter, value = self._layers[tensor.name], state[f"{LAYER}/{tensor.name}"]
            parameter.copy_(torch.from_numpy(np.array(value.T if tensor.transposed else value)))
            if f"step/{tensor.name}" in state:
                self._optimizer.state[parameter] = {
                    "step": torch.tensor(float(state[f"step/{tensor.name}"][0])),
                    **{
                        moment: torch.from_numpy(np.array(state[f"{moment}/{tensor.name}"]))
                        for moment in _MOMENTS
                    },
                }


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Torch's own default is all cores of the machine; and others may use it in this process."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
