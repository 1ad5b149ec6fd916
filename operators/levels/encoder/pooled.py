"""A base model that embeds texts, for torch: means of its hidden states over the tokens."""

from __future__ import annotations

import math
import re
from pathlib import Path

import torch
import transformers

from operators.levels.encoder.errors import EncoderUnavailable
from operators.settings import Pooling, TopLayers

SCALE = 8.0  # an embedding of length 1 would have a linear head learn slowly at usual rates
_INNER = 2 / 3  # of the way up lies the layer that is read beside the last
_UNUSED = re.compile(r"(?:^|\.)pooler\.")  # a base model may lack it: means are taken here
_LAYER = re.compile(r"(?:^|\.)layers?\.(\d+)\.")


class Pooled(torch.nn.Module):
    """Means of hidden states where the mask is 1, side by side, scaled to a fixed length.

    Of the last layer, or of one two thirds of the way up and the last: the last layers tell what
    the model was trained for, at the cost of other things that those below still tell of a text
    (Skean et al. 2025, "Layer by Layer: Uncovering Hidden Representations in Language Models").
    """

    def __init__(self, base: torch.nn.Module, pooling: Pooling) -> None:
        super().__init__()
        self.base = base
        self._pooling = pooling

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Embeddings, shape (texts, dimension)."""
        said = self.base(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        read = [said.last_hidden_state]
        if self._pooling == "inner_and_last":
            each = said.hidden_states  # the words' own come first
            read.insert(0, each[round((len(each) - 1) * _INNER)])
        counted = mask.unsqueeze(-1).to(read[-1].dtype)
        means = [(hidden * counted).sum(1) / counted.sum(1) for hidden in read]
        parts = [torch.nn.functional.normalize(mean, dim=1) for mean in means]
        return SCALE / math.sqrt(len(parts)) * torch.cat(parts, dim=1)


def load(source: Path, pooling: Pooling) -> Pooled:
    """The base model in evaluation mode, in a form that can be traced.

    Of a model for sequence classification, or another task, that is what is under its head.

    Raises
    ------
    EncoderUnavailable
        If the folder holds no encoder that transformers knows, or not all of its weights.
    """
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # not typed there
    # stderr belongs to the application; what matters of its report is looked at below.
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # as above
    try:
        base, loaded = transformers.AutoModel.from_pretrained(
            source,
            local_files_only=True,
            use_safetensors=True,
            attn_implementation="eager",
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError) as error:
        raise EncoderUnavailable(
            f"{source} holds no encoder that can be loaded: {error}.",
            "name a model of an architecture that transformers knows, such as BERT or MPNet.",
        ) from error
    missing = sorted(name for name in loaded["missing_keys"] if not _UNUSED.search(name))
    if missing:
        raise EncoderUnavailable(
            f"The weights in {source} lack {len(missing)} that its config.json asks for: "
            f"{', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}.",
            "download the model again, weights and config of one revision.",
        )
    return Pooled(base.eval().float(), pooling)


def top_parameters(pooled: Pooled, layers: TopLayers) -> dict[str, torch.nn.Parameter]:
    """Parameters of the top transformer layers, or of all, by their names in the base model.

    Raises
    ------
    EncoderUnavailable
        If the model has fewer layers.
    """
    if layers == "all":
        return {
            name: parameter
            for name, parameter in pooled.base.named_parameters()
            if not _UNUSED.search(name)
        }
    numbered = [
        (int(found[1]), name, parameter)
        for name, parameter in pooled.base.named_parameters()
        if (found := _LAYER.search(name))
    ]
    depth = 1 + max((number for number, _, _ in numbered), default=-1)
    if layers > depth:
        raise EncoderUnavailable(
            f"The encoder has {depth} transformer layers that can be told apart, not {layers}.",
            f"set `top_layers` to {depth} or less.",
        )
    return {name: parameter for number, name, parameter in numbered if number >= depth - layers}
