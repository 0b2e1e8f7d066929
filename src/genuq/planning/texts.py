"""Prompts and captions through a pipeline's text encoders: how many, and what one takes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from genuq.models import GenerativeModel
from genuq.pipeline.configured import model_part, part_options, untrained_model
from genuq.planning.planned import PlannedRun
from genuq.pretrained.outline import TextEncoder, text_encoders
from genuq.pretrained.prompts import HELD, bytes_of


def captions_encoded(run: PlannedRun, images: float) -> float:
    """Captions that a fit encodes in its passes over so many images: each once where the rows of all are held.

    Those that samples are asked for with, too, count there.
    """
    model = untrained_model(run)
    captions = model.num_classes - len(model.asked)
    return 0.0 if not captions or not encodes(run) else float(captions) if _held(model) else images


def prompts_encoded(run: PlannedRun, samples: int) -> float:
    """Prompts that so many samples ask to be encoded, and the null rows behind them."""
    model = untrained_model(run)
    if model.conditions is None or not encodes(run):
        return 0.0
    return float(len(model.asked) if _held(model) else samples) + model.conditions.nulls


def encodes(run: PlannedRun) -> bool:
    """Whether the run's model has text encoders whose configurations are known."""
    part = model_part(run)
    return part is not None and part.name == "diffusers" and untrained_model(run).conditions is not None


def _held(model: GenerativeModel) -> bool:
    """Whether the rows of all prompts and captions lie in memory."""
    assert model.conditions is not None
    one = model.conditions.source.at([0])
    return bytes_of(one) * len(model.conditions) <= HELD


def text_row(run: PlannedRun, counted: Callable[[Callable[[], object]], int]) -> int:
    """Operations of one of the longest texts through all text encoders of the run's pipeline.

    Args:
        counted: see `operations.counted`.
    """
    part = model_part(run)
    assert part is not None
    options = part_options(run, part)
    found = text_encoders(options["pretrained"], options.get("max_sequence_length"))
    return sum(_operations(encoder, counted) for encoder in found)


def _operations(encoder: TextEncoder, counted: Callable[[Callable[[], object]], int]) -> int:
    """By torch's counter; of an encoder that asks for numbers two a weight and token, as its layers of words have."""
    tokens = torch.zeros(1, encoder.tokens, dtype=torch.long, device="meta")
    try:
        return counted(torch.no_grad()(lambda: encoder.network(input_ids=tokens)))
    except (RuntimeError, TypeError, ValueError, NotImplementedError, AttributeError):
        return 2 * encoder.tokens * _weights_of_layers(encoder.network)


def _weights_of_layers(network: nn.Module) -> int:
    """Weights of linear layers, those that see images left out."""
    parts = [part for name, part in network.named_modules() if isinstance(part, nn.Linear) and "vis" not in name]
    return sum(part.weight.numel() for part in parts)
