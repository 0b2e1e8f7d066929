"""Every score by name: what a reader is shown, which claim it can carry, and what it is made from."""

from __future__ import annotations

from dataclasses import dataclass

from genuq.errors import ConfigurationError, did_you_mean
from genuq.scores.baselines import BASELINES
from genuq.scores.functionals import FUNCTIONALS


@dataclass(frozen=True)
class Entry:
    """A score as a table lists it.

    Attributes:
        label: what a reader is shown.
        kind: `score` (of the posterior), `baseline` (of the literature, without a posterior), `control` (should not
            work) or `oracle` (sees the real data that it is judged by).
        source: what it is made from: `draws` of the weights or of a control, the `propagation` of their variance to the
            pixels, the sampler's own `trajectory`, the
            finished `image`, `real` data, or `nothing`. What it costs in network evaluations is what its source
            costs, counted by a `Meter`: nothing for the last three.
        needs_images: cannot score points.
    """

    label: str
    kind: str
    source: str
    needs_images: bool = False


SCORES: dict[str, Entry] = {
    "entropy": Entry("Generative uncertainty", "score", "draws"),
    "full_covariance_entropy": Entry("Full-covariance entropy", "score", "draws"),
    "trace": Entry("Total variance", "score", "draws"),
    "cosine": Entry("Cosine distance", "score", "draws"),
    "paide": Entry("Pairwise-distance entropy", "score", "draws"),
    "pixel_variance": Entry("Propagated pixel variance", "score", "propagation"),
    "aleatoric": Entry("Aleatoric variance (AU)", "baseline", "trajectory"),
    "trajectory_variance": Entry("Trajectory variance", "baseline", "trajectory"),
    "divergence": Entry("Flow divergence", "baseline", "trajectory"),
    "likelihood": Entry("Negative log-likelihood", "baseline", "trajectory"),
    "random": Entry("Random", "control", "nothing"),
    "complexity": Entry("Image complexity", "control", "image", needs_images=True),
    "direct_noise": Entry("Direct pixel noise", "control", "draws", needs_images=True),
    "jitter": Entry("Initial-noise jitter", "control", "draws"),
    "isotropic": Entry("Isotropic weight noise", "control", "draws"),
    "realism": Entry("Realism (sees real data)", "oracle", "real"),
    "rarity": Entry("Rarity (sees real data)", "oracle", "real"),
}
CONTROLS = tuple(name for name, entry in SCORES.items() if entry.kind == "control")

assert {name for name, entry in SCORES.items() if entry.source == "trajectory"} == BASELINES.keys()
assert {name for name, known in SCORES.items() if known.kind == "score" and known.source == "draws"} == set(FUNCTIONALS)


def entry(name: str, key: str = "score.name") -> Entry:
    """The entry called `name`.

    Raises:
        ConfigurationError: no score has this name; `key` is where it was asked for.
    """
    if name not in SCORES:
        raise ConfigurationError(f"{key}: '{name}' does not exist.{did_you_mean(name, SCORES)}")
    return SCORES[name]
