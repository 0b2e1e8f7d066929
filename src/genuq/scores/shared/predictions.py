"""Predictions of the network at given states: its own, those of weight draws, of other classes, of a weaker network.

Every prediction is kept under what it depends on, so that scores which ask for the same one share it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel, Meter, evaluating, finished, metered
from genuq.posteriors import Posterior, swapped
from genuq.processes import conversion
from genuq.scores.shared.ledger import Cost, Ledger

MAIN = "draws"  # what the draws of the run's own posterior are called
OWN, WEAK = "own weights", "weak weights"
ASKED, NULL = 0, "null"  # labels: the class asked for (others are so many classes after it), and the null class

Label = int | str


@dataclass(frozen=True)
class Resources:
    """What scores may ask for beside the model.

    Attributes:
        posteriors: by the names of their draws.
        draws: M of each of them.
        seed: of the draws.
        weak: weights of an earlier checkpoint of the network, by name.
        embed: of images (B, C, H, W) in [-1, 1], or points, to features (B, D).
    """

    posteriors: Mapping[str, Posterior] = field(default_factory=dict)
    draws: int = 0
    seed: int = 0
    weak: Mapping[str, Tensor] | None = None
    embed: Callable[[Tensor], Tensor] | None = None


class Predictions(ABC):
    """What a network predicts for a batch of samples, at places that a subclass knows: points of a path, or noise
    levels of a probe.

    A place has K parts, one for each state at which it looks; results are (K, B, ...) float64, B samples.

    Args:
        model: whose weights are there again whenever nothing is being evaluated.
        classes_B: the classes asked for; None: the model knows none.
        resources: what may be asked for beside it.

    Attributes:
        ledger: of what was evaluated.
        scoring: the score that is being computed.
        maps: (B, H, W) float64, of the scores that left one.
    """

    def __init__(self, model: GenerativeModel, classes_B: Tensor | None, resources: Resources | None) -> None:
        self.model, self.resources = model, resources or Resources()
        self.classes_B = None if classes_B is None else classes_B.to(model.device)
        self.meter = Meter()
        self.scoring, self.maps = "", dict[str, Tensor]()
        self.ledger = Ledger(lambda: float(sum(self.meter.evaluations.values())), self._wait)

    @abstractmethod
    def parts(self, place: Hashable) -> Sequence[Hashable]:
        """The states of a place."""

    @abstractmethod
    def state(self, part: Hashable) -> tuple[Tensor, float]:
        """(x_t (B, ...), t) of one of them."""

    def network_time(self, part: Hashable) -> float | None:
        """What the network is told of the time there, where it is not what the process says."""
        return None

    # What scores ask for

    @property
    def num_classes(self) -> int:
        return 0 if self.classes_B is None else self.model.num_classes

    def x0(self, place: Hashable, label: Label = ASKED, who: str = OWN) -> Tensor:
        """The predicted clean sample x0_hat, (K, B, ...).

        Args:
            label: of the class asked for, `NULL`, or so many classes after the one asked for.
            who: `OWN` or `WEAK`.
        """
        return torch.stack([self._hats(part, self._made(part, who, label))[0] for part in self.parts(place)])

    def eps(self, place: Hashable, label: Label = ASKED, who: str = OWN) -> Tensor:
        """The predicted noise eps_hat, (K, B, ...); arguments as of `x0`."""
        return torch.stack([self._hats(part, self._made(part, who, label))[1] for part in self.parts(place)])

    def versions(
        self,
        places: Sequence[Hashable],
        members: int | None = None,
        posterior: str = MAIN,
        semantic: bool = False,
        own: bool = True,
    ) -> list[Tensor]:
        """x0_hat of the trained weights and of M draws, for each place (1 + M, K, B, ...).

        Args:
            members: M; None: as many draws as there are.
            posterior: whose draws.
            semantic: features of the decoded x0_hat instead, (1 + M, K, B, D).
            own: whether the trained weights are among them; without, (M, K, B, ...).

        Raises:
            ConfigurationError: no such posterior, too few draws of it, or no encoder.
        """
        names = [*([OWN] if own else []), *self._draw(places, posterior, members)]
        see = self._features if semantic else self._x0_of

        def seen_by(who: str, place: Hashable) -> Tensor:
            return torch.stack([see(part, who) for part in self.parts(place)])

        return [torch.stack([seen_by(who, place) for who in names]) for place in places]

    def leave_map(self, values: Tensor) -> None:
        """Keep what the score that is being computed says of each pixel, beside its number.

        Args:
            values: (B, C, H, W), higher where a sample is less to be trusted; summed over C. Points have no map.
        """
        if values.ndim == 4:
            self.maps[self.scoring] = values.double().sum(1).cpu()

    # How it is made

    def _x0_of(self, part: Hashable, who: str) -> Tensor:
        return self._hats(part, self._made(part, who, ASKED))[0]

    def _features(self, part: Hashable, who: str) -> Tensor:
        embed = self.resources.embed
        if embed is None:
            raise ConfigurationError("a score asked for features: declare needs={'encoder'} where it is registered.")
        x0 = self._x0_of(part, who).to(self.state(part)[0].dtype)
        return self.ledger.get(("features", part, who), lambda: embed(finished(self.model, x0)).double())

    def _hats(self, part: Hashable, prediction: Tensor) -> tuple[Tensor, Tensor]:
        """(x0_hat, eps_hat), float64."""
        x, t = self.state(part)
        a, b, c, d = (float(number) for number in conversion(self.model.prediction, self.model.process, t))
        return a * x.double() + b * prediction.double(), c * x.double() + d * prediction.double()

    def _made(self, part: Hashable, who: str, label: Label) -> Tensor:
        key = (part, who, label)
        if who == WEAK:
            return self.ledger.get(key, lambda: self._with_weak(part, label))
        return self.ledger.get(key, lambda: self._evaluate(part, label))

    def _with_weak(self, part: Hashable, label: Label) -> Tensor:
        if self.resources.weak is None:
            raise ConfigurationError("a score asked for a weaker network: set score.weak_checkpoint to a file.")
        with swapped(self.model.network, self.resources.weak):
            return self._evaluate(part, label)

    def _draw(self, places: Iterable[Hashable], posterior: str, members: int | None) -> list[str]:
        """Evaluate all of these under the draws, each of which is made once for all; names of who evaluated."""
        resources = self.resources
        if posterior not in resources.posteriors:
            raise ConfigurationError(
                f"a score asked for draws of '{posterior}': declare needs={{'members'}} where it is registered."
            )
        count = resources.draws if members is None else members
        if not 1 <= count <= resources.draws:
            raise ConfigurationError(f"score.members = {count}, but the posterior has {resources.draws} draws.")
        resources.posteriors[posterior].require_weights_of(self.model)
        drawn, names = resources.posteriors[posterior], [f"{posterior}/{m}" for m in range(count)]
        parts = list(dict.fromkeys(part for place in places for part in self.parts(place)))
        for m, who in enumerate(names):
            missing = [part for part in parts if (part, who, ASKED) not in self.ledger]
            if missing:
                keys = [(part, who, ASKED) for part in missing]
                self.ledger.fill(keys, lambda m=m, missing=missing: self._with_draw(drawn, m, missing))  # type: ignore[misc]
        return names

    def _with_draw(self, posterior: Posterior, m: int, parts: Sequence[Hashable]) -> list[Tensor]:
        with swapped(posterior.module, posterior.draw(m, self.resources.seed)):
            return [self._evaluate(part, ASKED) for part in parts]

    @torch.no_grad()
    def _evaluate(self, part: Hashable, label: Label) -> Tensor:
        x, t = self.state(part)
        t_B = torch.full((len(x),), t, device=x.device, dtype=x.dtype)
        told = self.network_time(part)
        if told is None:
            return self.model(x, t_B, self._labels(label))
        return self.model(x, t_B, self._labels(label), torch.full_like(t_B, told, dtype=torch.float32))

    def _labels(self, label: Label) -> Tensor | None:
        if self.classes_B is None:
            if label != ASKED:
                raise ConfigurationError("a score asked for other classes, but the model knows none.")
            return None
        if label == NULL:
            if not self.model.has_null:
                raise ConfigurationError(
                    "a score asked for the null class, which the model was trained without: choose another score "
                    "(score=lid, score=path_disagreement)."
                )
            return self.model.null_of(self.classes_B)
        return (self.classes_B + int(label)) % self.model.num_classes

    def _wait(self) -> None:
        if self.model.device.type == "cuda":
            torch.cuda.synchronize(self.model.device)


def disagreement(
    predictions: Predictions,
    places: Sequence[Hashable],
    members: int | None = None,
    posterior: str = MAIN,
    semantic: bool = False,
) -> Tensor:
    """Biased variance over the weights of x0_hat (of its features where `semantic`), summed over dimensions, (B,).

    Mean over the parts of each place, and over places; other arguments as of `Predictions.versions`. Where it is not
    semantic it leaves a map, the variance of each pixel.
    """
    found = predictions.versions(places, members, posterior, semantic)
    if not semantic:
        predictions.leave_map(torch.stack([x0.var(0, correction=0).mean(0) for x0 in found]).mean(0))
    return torch.stack([x0.var(0, correction=0).flatten(2).sum(2).mean(0) for x0 in found]).mean(0)


@dataclass(frozen=True)
class SharedScores:
    """Scores that were computed together.

    Attributes:
        values: (B,) float64 of each.
        costs: of each, were it the only one, for all B samples together.
        evaluations: rows that went through the network for all of them.
        maps: (B, H, W) float64 of those that left one.
    """

    values: dict[str, Tensor]
    costs: dict[str, Cost]
    evaluations: float
    maps: dict[str, Tensor] = field(default_factory=dict)


def score_together(predictions: Predictions, scores: Mapping[str, Callable[[Predictions], Tensor]]) -> SharedScores:
    """Several scores of the same predictions, none of which is made twice.

    Args:
        predictions: of a batch, of which nothing was asked yet.
        scores: functions of them to (B,), by name.
    """
    values, ledger = {}, predictions.ledger
    with evaluating(predictions.model), metered(predictions.model) as predictions.meter, torch.no_grad():
        for name, score in scores.items():
            predictions.scoring = name
            with ledger.charging(name):
                values[name] = score(predictions).double().cpu()
        evaluations = float(sum(predictions.meter.evaluations.values()))
        return SharedScores(values, dict(ledger.costs), evaluations, dict(predictions.maps))
