"""Models: a network, its process and its autoencoder behind one interface; sampling; models as plain data."""

from genuq.models.autoencoder import Autoencoder, DiffusersAutoencoder, VAEAutoencoder
from genuq.models.description import build
from genuq.models.generative import (
    GenerativeModel,
    call_plainly,
    evaluating,
    find_head,
    head_candidates,
    load_weights,
)
from genuq.models.metering import Meter, metered
from genuq.models.sampling import (
    Observer,
    Sampler,
    StageRecord,
    finished,
    sample,
    sample_latents,
    to_bytes,
    to_unit,
)

__all__ = [
    "Autoencoder",
    "DiffusersAutoencoder",
    "GenerativeModel",
    "Meter",
    "Observer",
    "Sampler",
    "StageRecord",
    "VAEAutoencoder",
    "build",
    "call_plainly",
    "evaluating",
    "find_head",
    "finished",
    "head_candidates",
    "load_weights",
    "metered",
    "sample",
    "sample_latents",
    "to_bytes",
    "to_unit",
]
