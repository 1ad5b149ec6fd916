"""Builds the two halves of an encoder level; torch only where layers are fine-tuned."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from operators.levels.encoder.artifact import obtain
from operators.levels.encoder.errors import EncoderUnavailable
from operators.levels.encoder.learning import EncoderLearner
from operators.levels.encoder.runtime import check_builds
from operators.levels.encoder.serving import EncoderLevel
from operators.levels.encoder.session import Encoder, FloatArray, open_encoder
from operators.levels.encoder.tuning import Tuning
from operators.levels.port import Tensors
from operators.settings import EncoderSettings

__all__ = ["encoder_learner", "encoder_level", "prepare"]


def prepare(settings: EncoderSettings) -> None:
    """Have the graph ready in the cache.

    Raises
    ------
    EncoderUnavailable
        If the base model is not to be had, or ONNX Runtime is installed twice.
    """
    check_builds()
    obtain(settings)


def encoder_level(settings: EncoderSettings, labels: int) -> EncoderLevel:
    """The serving half, before its first release.

    Raises
    ------
    EncoderUnavailable
        If the base model or the device is not to be had.
    """
    return EncoderLevel(settings.name, open_encoder(settings), labels)


def encoder_learner(
    settings: EncoderSettings, labels: int, seed: int, monotonic: Callable[[], float]
) -> EncoderLearner:
    """The learning half, knowing nothing yet.

    Parameters
    ----------
    monotonic
        The clock by which gradient steps on the layers keep to their share, in seconds.

    Raises
    ------
    EncoderUnavailable
        If the base model or the device is not to be had, or layers are to be tuned without torch.
    """
    encoder = open_encoder(settings)
    if settings.top_layers == 0:
        return EncoderLearner(settings, encoder, labels, seed)
    try:
        from operators.levels.encoder.finetune import Tuner
    except ImportError as error:
        raise EncoderUnavailable(
            f"Level {settings.name!r} fine-tunes {settings.top_layers} layers, which needs "
            f"{error.name}.",
            "pip install 'flink-online-cascade[encoder]', or set `top_layers: 0`.",
        ) from error
    tuner = Tuner(encoder.artifact, encoder.tokens, settings, monotonic, _embed(settings, encoder))
    layers, share = encoder.artifact.trainable(), settings.finetune.time_share
    tuning = Tuning(tuner, layers, share, monotonic)
    return EncoderLearner(settings, encoder, labels, seed, tuning)


def _embed(
    settings: EncoderSettings, encoder: Encoder
) -> Callable[[Sequence[str], Tensors], FloatArray] | None:
    """What embeds for a tuner: nothing where torch says what the served graph would."""
    if settings.precision == "fp32":
        return None
    return lambda texts, layers: encoder.embed(texts, encoder.bind(layers))
