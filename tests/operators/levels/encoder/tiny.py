"""A BERT of two layers with random weights, and its tokenizer: small enough for every test."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from operators.levels.encoder.session import Encoder, open_encoder
from operators.settings import EncoderSettings
from tests.operators.levels import checks

WORDS = [word for words, _ in checks.TOPICS for word in words.split()]
MAX_TOKENS = 32
_BEHIND_PADDING = {"pad_token_id": 1, "max_position_embeddings": MAX_TOKENS + 2}
SHAPES: dict[str, dict[str, Any]] = {
    "bert": {},
    "mpnet": _BEHIND_PADDING,
    "roberta": _BEHIND_PADDING,
    "xlm-roberta": _BEHIND_PADDING,
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48},
    "electra": {"embedding_size": 16},
    "albert": {"embedding_size": 16},
    "deberta-v2": {},
    "modernbert": {},
    "fnet": {},
    "canine": {"downsampling_rate": 2, "local_transformer_stride": 16},
}
"""What each architecture's configuration wants beyond the usual."""
REFUSED = ("fnet", "canine")
"""Those that can not be exported with the default settings."""


def tokenizer() -> Tokenizer:
    """WordPiece over a few words and the letters."""
    letters = list(string.ascii_lowercase + string.digits + string.punctuation)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *letters, *(f"##{x}" for x in letters)]
    made = Tokenizer(
        models.WordPiece(
            vocab={piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"
        )
    )
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made


def make(
    folder: Path, kind: str = "bert", seed: int = 0, *, head: bool = False, **changes: int
) -> Path:
    """Write a base model of an architecture into a folder, or one that classifies sequences."""
    torch.manual_seed(seed)
    words = tokenizer()
    shape: dict[str, Any] = {
        "vocab_size": words.get_vocab_size(),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": MAX_TOKENS,
        "pad_token_id": 0,
    }
    config = AutoConfig.for_model(kind, **shape | SHAPES[kind] | changes)
    made = AutoModelForSequenceClassification if head else AutoModel
    model: Any = made.from_config(config)
    for name, parameter in model.named_parameters():
        if "word_embeddings" in name:
            torch.nn.init.normal_(parameter)  # words can be told apart at the top
        else:
            parameter.data += 0.05 * torch.randn_like(parameter)  # no two norms are alike
    model.save_pretrained(folder)
    words.save(str(folder / "tokenizer.json"))
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return folder


def written(model: Path, cache: Path, **changes: Any) -> EncoderSettings:
    """Settings of a level on that model."""
    plain: dict[str, Any] = {"kind": "encoder", "model": str(model), "cache": cache}
    return EncoderSettings.model_validate(
        plain | {"max_tokens": MAX_TOKENS, "buffer": 200, "batch": 4} | changes
    )


def opened(settings: EncoderSettings) -> Encoder:
    """The encoder of these settings."""
    return open_encoder(settings)
