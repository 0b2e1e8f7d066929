"""Models: a network, its process and its autoencoder behind one interface; sampling; built-in descriptions."""

from genuq.models.autoencoder import Autoencoder, DiffusersAutoencoder, VAEAutoencoder
from genuq.models.description import build
from genuq.models.generative import GenerativeModel, call_plainly, find_head, head_candidates, load_weights

__all__ = [
    "Autoencoder",
    "DiffusersAutoencoder",
    "GenerativeModel",
    "VAEAutoencoder",
    "build",
    "call_plainly",
    "find_head",
    "head_candidates",
    "load_weights",
]
