"""The register of scores: what a reader is shown, which claim each can carry, and what it is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.parts import Part, Register
from genuq.parts.options import hints_of, parameters_of
from genuq.scores.shared import Probe, SamplerPath


class Given(NamedTuple):
    """What genuq gives a score of one source: so many leading arguments, and others by name."""

    leading: int
    names: frozenset[str] = frozenset()


SOURCES = {
    "draws": Given(2),
    "propagation": Given(1, frozenset({"mask"})),
    "trajectory": Given(3),
    "path": Given(1),
    "probe": Given(1),
    "class": Given(2),
    "image": Given(1),
    "real": Given(2, frozenset({"k"})),
    "nothing": Given(0, frozenset({"indices", "seed"})),
    "weights": Given(2),
    "initial_noise": Given(1, frozenset({"seed", "indices", "draw"})),
    "noised_image": Given(1, frozenset({"draws", "seed", "indices"})),
}
NEEDS = ("members", "several", "isotropic", "encoder", "classes", "null", "weak")
MAKES_DRAWS = ("weights", "initial_noise", "noised_image")


@dataclass(frozen=True, kw_only=True)
class ScorePart(Part):
    """A score as a table lists it: one number for each sample, higher is less to be trusted.

    `kind` is `score` (of the posterior), `baseline` (of the literature, without a posterior), `control` (should not
    work) or `oracle` (sees the real data that it is judged by).

    Attributes:
        source: what it is made from, which says how its target is called and what it costs in network evaluations:
            `draws`: f(embeddings_NMD, observation_variance), the samples under M draws of the weights;
            `propagation`: f(variance_NX, mask), of the pixels, the mask a boolean tensor or None;
            `trajectory`: a `Watcher` class, called with (model, sampler, indices of a batch);
            `path`: f(path), a `genuq.scores.shared.SamplerPath`, predictions at points of the sampler's one path;
            `probe`: f(probe), a `genuq.scores.shared.Probe`, predictions at finished samples that are noised again;
            `class`: f(scores, classes), the run's own score of all samples and the classes that were asked for;
            `image`: f(images), finished ones, uint8 (N, C, H, W), or points;
            `real`: f(real_RD, fake_ND, k), features of the judge;
            `nothing`: f(indices, seed).
            These return (N,). Controls that make draws of their own, which the run's functional scores:
            `weights`: f(posterior, network), a finalised posterior in place of the run's;
            `initial_noise`: f(noise_BX, seed, indices, draw), noise in place of the sampler's;
            `noised_image`: f(images_NCHW in [0, 1], draws, seed, indices), (N, M, C, H, W) in [0, 1].
            The first arguments are given by position, seed, indices, draws, draw, mask and k by name, and only to
            targets that have them.
        needs: of a score of a path or a probe, what it asks for beside the trained network: `members`, the posterior's
            draws; `several`, two or more of them; `isotropic`, those of weight noise of its size; `encoder`, the
            likelihood's; `classes`; `null`, the null class too; `weak`, an earlier checkpoint.
        keys: what the configuration calls an option, where not by its own name: `score.KEY`.
    """

    group: str = "score"
    kind: str = "score"
    source: str = "draws"
    lower_is_better: bool | None = True
    needs: frozenset[str] = frozenset()
    keys: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.source not in SOURCES:
            raise ConfigurationError(f"score '{self.name}': source '{self.source}' is none of {', '.join(SOURCES)}.")
        if unknown := sorted(self.needs - set(NEEDS)):
            raise ConfigurationError(f"score '{self.name}': needs '{unknown[0]}', which is none of {', '.join(NEEDS)}.")

    @property
    def supplied(self) -> frozenset[str]:
        return SOURCES[self.source].names

    @property
    def leading(self) -> int:
        return SOURCES[self.source].leading

    @property
    def makes_draws(self) -> bool:
        """Whether it is a control with draws of its own, which the run's functional scores."""
        return self.source in MAKES_DRAWS

    @classmethod
    def of(cls, target: Any, **facts: Any) -> Self:
        """A class with a method `score` watches the trajectory. A function scores what its first argument is declared
        to be, a `Probe` or a `SamplerPath`, and its attribute `needs` says what it asks for; one whose first argument
        is called `images` scores finished images; any other scores draws.
        """
        facts = _read_off(target) | facts
        if isinstance(target, type) and callable(getattr(target, "score", None)):
            facts = {"source": "trajectory", "kind": "baseline"} | facts
        return super().of(target, **facts)

    def key_of(self, option: str) -> str:
        """What the configuration calls an option, within `score`."""
        return self.keys.get(option, option)

    def chosen(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Its options, of the configuration's `score`; those that are not there or null keep their defaults."""
        found = {option: settings.get(self.key_of(option)) for option in self.option_names}
        return {option: value for option, value in found.items() if value is not None}

    def values(self, count: int, *given: Any, **options: Any) -> Tensor:
        """The score of `count` samples, (N,) float64; for sources that return them.

        Raises:
            ConfigurationError: it returns anything else than one number for each sample.
        """
        found = torch.as_tensor(self.make(*given, **options))
        if tuple(found.shape) != (count,):
            raise ConfigurationError(
                f"score '{self.name}' returned shape {tuple(found.shape)}, not one number for each of {count} samples."
            )
        return found.double().cpu()


def _read_off(target: Any) -> dict[str, Any]:
    """What a function of a path, a probe or of images says of itself."""
    first = next(iter(parameters_of(target)), "") if callable(target) and not isinstance(target, type) else ""
    sources: dict[Any, str] = {SamplerPath: "path", Probe: "probe"}
    source = sources.get(hints_of(target).get(first)) if first else None
    if source is None:
        return {"source": "image"} if first == "images" else {}
    return {"source": source, "needs": frozenset(getattr(target, "needs", ()))}


SCORES = Register(ScorePart, "genuq.scores", "score.name")
