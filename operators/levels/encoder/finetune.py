"""Online fine-tuning of an encoder's top layers with torch: AdamW within a share of the time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from operators.levels.encoder.artifact import Artifact
from operators.levels.encoder.export import load, top_parameters
from operators.levels.encoder.head import FloatArray
from operators.levels.encoder.memory import IntArray
from operators.levels.encoder.tokens import Tokens, padded
from operators.levels.port import Tensors
from operators.settings import EncoderSettings

_MOMENTS = ("exp_avg", "exp_avg_sq")  # torch's names of AdamW's state, beside the step
_LARGEST_NORM = 1.0  # of a step's gradient: one odd batch must not undo what was learned


class Tuner:
    """Takes gradient steps on the top layers; the head is taken as it is, and learns elsewhere.

    No dropout, and no draw of its own: the same steps on the same examples give the same layers.
    How many steps are made depends on the clock, so a trainer that is restored and repeats its
    lessons may end up with other layers than the one that died: as good, not the same.

    Parameters
    ----------
    monotonic
        The clock, in seconds.
    """

    def __init__(
        self,
        artifact: Artifact,
        tokens: Tokens,
        settings: EncoderSettings,
        monotonic: Callable[[], float],
    ) -> None:
        self._artifact = artifact
        self._tokens = tokens
        self._settings = settings.finetune
        self._threads = settings.threads
        self._monotonic = monotonic
        self._model = load(artifact.source)
        self._model.requires_grad_(False)
        self._layers = top_parameters(self._model, settings.top_layers)
        for parameter in self._layers.values():
            parameter.requires_grad_(True)
        self._optimizer = self._fresh_optimizer()
        self._started_s: float | None = None
        self._spent_s = 0.0

    def _fresh_optimizer(self) -> torch.optim.AdamW:
        chosen = self._settings
        parameters = [self._layers[tensor.name] for tensor in self._artifact.meta.trainable]
        return torch.optim.AdamW(parameters, lr=chosen.rate, weight_decay=chosen.decay)

    def due(self, annotations: int) -> bool:
        """Whether it is a step's turn, and steps have not had their share of the time."""
        now_s = self._monotonic()
        if self._started_s is None:
            self._started_s = now_s
        its_turn = annotations % self._settings.every == 0
        return its_turn and self._spent_s <= self._settings.time_share * (now_s - self._started_s)

    def step(self, texts: Sequence[str], labels: IntArray, head: Tensors) -> FloatArray:
        """Take a step on the log loss of these examples; return their embeddings before it."""
        began_s = self._monotonic()
        threads = torch.get_num_threads()
        torch.set_num_threads(self._threads)  # not torch's own default: all cores of the machine
        ids, mask = padded(self._tokens(texts), self._artifact.meta.pad_id)
        embeddings = self._model(torch.from_numpy(ids), torch.from_numpy(mask))
        logits = embeddings @ torch.from_numpy(head["weights"]) + torch.from_numpy(head["bias"])
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch carries no type here
        torch.nn.utils.clip_grad_norm_(self._layers.values(), _LARGEST_NORM)
        self._optimizer.step()
        torch.set_num_threads(threads)
        self._spent_s += self._monotonic() - began_s
        return np.asarray(embeddings.detach().numpy())

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """The layers in the graph's layout: copies."""
        return {name: value.copy() for name, value in self._in_graph_layout(self._layers).items()}

    def _in_graph_layout(self, values: Any) -> dict[str, npt.NDArray[Any]]:
        return {
            tensor.name: np.ascontiguousarray(
                values[tensor.name].detach().numpy().T
                if tensor.transposed
                else values[tensor.name].detach().numpy()
            )
            for tensor in self._artifact.meta.trainable
        }

    def adopt(self, tensors: Tensors) -> None:
        """Go on from these layers, in the graph's layout, with a fresh optimizer."""
        self._write(tensors)
        self._optimizer = self._fresh_optimizer()

    @torch.no_grad()
    def _write(self, tensors: Tensors) -> None:
        for tensor in self._artifact.meta.trainable:
            value = tensors[tensor.name].T if tensor.transposed else tensors[tensor.name]
            self._layers[tensor.name].copy_(torch.from_numpy(np.array(value)))

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Layers, and AdamW's moments and step for each once there has been a step."""
        state = {f"layer/{name}": value for name, value in self.tensors().items()}
        for name, parameter in self._layers.items():
            own = self._optimizer.state.get(parameter)
            if own:
                state[f"step/{name}"] = np.array([int(own["step"])], np.int64)
                for moment in _MOMENTS:
                    state[f"{moment}/{name}"] = own[moment].numpy().copy()
        return state

    def restore(self, snapshot: Tensors) -> None:
        """Become what `snapshot` described; the share of the time is counted afresh."""
        self.adopt({name: snapshot[f"layer/{name}"] for name in self._layers})
        for name, parameter in self._layers.items():
            if f"step/{name}" not in snapshot:
                continue
            self._optimizer.state[parameter] = {
                "step": torch.tensor(float(snapshot[f"step/{name}"][0])),
                **{m: torch.from_numpy(np.array(snapshot[f"{m}/{name}"])) for m in _MOMENTS},
            }
        self._started_s, self._spent_s = None, 0.0
