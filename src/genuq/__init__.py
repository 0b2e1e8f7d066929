"""genuq: generative uncertainty quantification for diffusion and flow-matching models.

Shape legend, used as suffixes where tensors of several kinds meet:
    B batch, N samples, R real reference images, M weight draws, T solver steps,
    C H W image channels, height, width, O head outputs, P output positions, K head inputs (with bias), D features.

Imports go one way: parts, metrics, data, networks, processes, solvers, models, posteriors, propagators, extractors,
likelihoods, scores, analysis, applications, report, stages.

The library in one breath: wrap a network in `GenerativeModel`, `fit` a posterior over its last layer, and ask
`generative_uncertainty` which of its samples to trust.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# Imported on first use: `import genuq` stays fast, and `genuq --help` too.
_PUBLIC = {
    "GenerativeModel": "genuq.models",
    "Sampler": "genuq.models",
    "sample": "genuq.models",
    "fit": "genuq.posteriors",
    "finetune_ensemble": "genuq.training.ensembles",
    "propagate": "genuq.propagators",
    "SemanticLikelihood": "genuq.likelihoods",
    "PixelLikelihood": "genuq.likelihoods",
    "generative_uncertainty": "genuq.scores",
    "regenerate": "genuq.scores",
    "score_images": "genuq.scores",
    "load_reference": "genuq.models.checkpoints",
    "from_pipeline": "genuq.pretrained",
    "from_pretrained": "genuq.pretrained",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    """A public name from the folder where it lives."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'genuq' has no attribute '{name}'")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
