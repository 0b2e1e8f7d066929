"""Models: a network, its process and its autoencoder behind one interface; sampling; models as plain data."""

from genuq.models.autoencoder import Autoencoder, DiffusersAutoencoder, VAEAutoencoder
from genuq.models.autoguidance import AUTOGUIDANCE, guided_by
from genuq.models.conditioning import Conditions, Rows, padded, unpadded
from genuq.models.description import build, has_outline, outline
from genuq.models.engine import Engine
from genuq.models.functional import is_plain, may_make_its_weight, not_plain, with_plain_layers
from genuq.models.generative import GenerativeModel, call_plainly, evaluating, with_filled_head
from genuq.models.guidance import CLASSIFIER_FREE, Guidance
from genuq.models.head import find_head, head_candidates
from genuq.models.metering import Meter, metered
from genuq.models.register import MODELS, ModelPart
from genuq.models.restarting import SAME_TIME, finish_latents, grid_time, grid_times, stages_from, step_times
from genuq.models.sampling import (
    Observer,
    Sampler,
    StageRecord,
    Steering,
    finished,
    sample,
    sample_latents,
    to_bytes,
    to_unit,
)
from genuq.models.tracing import linked_head, traced_head
from genuq.models.weights import load_weights

__all__ = [
    "AUTOGUIDANCE",
    "CLASSIFIER_FREE",
    "MODELS",
    "SAME_TIME",
    "Autoencoder",
    "Conditions",
    "DiffusersAutoencoder",
    "Engine",
    "GenerativeModel",
    "Guidance",
    "Meter",
    "ModelPart",
    "Observer",
    "Rows",
    "Sampler",
    "StageRecord",
    "Steering",
    "VAEAutoencoder",
    "build",
    "call_plainly",
    "evaluating",
    "find_head",
    "finish_latents",
    "finished",
    "grid_time",
    "grid_times",
    "guided_by",
    "has_outline",
    "head_candidates",
    "is_plain",
    "linked_head",
    "load_weights",
    "may_make_its_weight",
    "metered",
    "not_plain",
    "outline",
    "padded",
    "sample",
    "sample_latents",
    "stages_from",
    "step_times",
    "to_bytes",
    "to_unit",
    "traced_head",
    "unpadded",
    "with_filled_head",
    "with_plain_layers",
]
