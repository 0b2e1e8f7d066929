"""Guidance by a second network: away from what a weaker one, or one that knows no classes, says at the same state.

(1 - s) f(second) + s f(own). The second network has no posterior: weight draws move the model's own network alone.
Source: Karras et al. 2024, "Guiding a Diffusion Model with a Bad Version of Itself" (autoguidance), and, with a network
that knows no classes, the guidance of EDM2 (Karras et al. 2024, "Analyzing and Improving the Training Dynamics").
"""

from __future__ import annotations

from typing import TypeVar

import torch

from genuq.errors import ConfigurationError
from genuq.models.generative import GenerativeModel
from genuq.models.guidance import GUIDE, OWN, Guidance
from genuq.processes import require_prediction

_SAME = 1e-6  # of alpha and sigma: paths that differ by less are one
Model = TypeVar("Model", bound=GenerativeModel)

AUTOGUIDANCE = Guidance("by a second network", lambda scale, t_B: (1 - scale, scale), branches=(GUIDE, OWN))


def guided_by(model: Model, guide: GenerativeModel) -> Model:
    """The model, whose `guidance_scale` from now on is that of guidance by a second network, in place of any other.

    Each guided evaluation is one row through either network, and counts as two.

    Args:
        guide: of the same states and path, of the same prediction; of the same classes or of none. It is shared, moves
            where the model moves, and is never fitted or drawn.

    Raises:
        ConfigurationError: it is of other states, another path, another prediction or other classes.
    """
    own, other = require_prediction(model.prediction), require_prediction(guide.prediction)
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    own_path, other_path = (torch.stack([m.process.alpha(t), m.process.sigma(t)]) for m in (model, guide))
    differing = {
        "states of shape": (model.latent_shape, guide.latent_shape),
        "prediction": (own.name, other.name),
        "process": tuple(type(each.process).__name__ for each in (model, guide)),
        "classes": (model.num_classes, guide.num_classes or model.num_classes),
    }
    for what, (wanted, found) in differing.items():
        if wanted != found:
            raise _other(f"{what} {found}", f"{wanted}")
    if not torch.allclose(own_path, other_path, rtol=0, atol=_SAME):
        raise _other("a process of another schedule", "its own")
    if guide.conditions is not None:
        raise _other("prompts of its own", "those that it is asked for")
    model.guide, model.guidance = guide.requires_grad_(False), AUTOGUIDANCE
    return model


def _other(found: str, wanted: str) -> ConfigurationError:
    return ConfigurationError(
        f"the network that guides (model.guide) has {found} where the model has {wanted}: give one of the same states, "
        "process and prediction, and of the same classes or none."
    )
