"""Exact truth: which images are wrong, in what way, by how much and where, from rules instead of a judge."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from genuq.errors import ConfigurationError, DataError, did_you_mean

VALID, BROKEN, RULE_BROKEN, JUDGED_BAD = LABELS = ("valid", "broken", "rule_broken", "judged_bad")
GRADES = ("broken_small", "broken_middle", "broken_large")  # kinds of an oracle that tells defects apart by their size
GATE = 0.25  # in [-1, 1]: a pixel that is off by no more is grain, not a defect

AT_ONCE = 512  # images


@dataclass(frozen=True)
class Truth:
    """What is true of N samples.

    Attributes:
        kinds: int64 (N,), places in `names`.
        names: of the kinds; the first is `valid`.
        label_names: `valid`, `broken` (something that no real sample has), `rule_broken` (clean pieces put together as
            in no real sample) or `judged_bad` (no rule but a judge says so, who errs), for each of the names.
        defect_size: float64 (N,), of the worst part: in wrong pixels for images, in standard deviations for points.
            Also of valid samples, whose defects are within the oracle's tolerance.
        parts: bool (N, P), which quadrants, panels or the like are wrong; P is 0 where a sample has no parts.
        mask: bool (N, H, W), the pixels that are wrong; None for points.
    """

    kinds: Tensor
    names: tuple[str, ...]
    label_names: tuple[str, ...]
    defect_size: Tensor
    parts: Tensor
    mask: Tensor | None = None

    @property
    def labels(self) -> Tensor:
        """int64 (N,), places in `LABELS`."""
        return torch.tensor([LABELS.index(label) for label in self.label_names])[self.kinds]

    @property
    def valid(self) -> Tensor:
        """bool (N,)."""
        return self.labels == LABELS.index(VALID)

    def of(self, name: str) -> Tensor:
        """bool (N,): which samples are of a kind, or have a label."""
        chosen = [name in (kind, label) for kind, label in zip(self.names, self.label_names)]
        return torch.tensor(chosen)[self.kinds]

    @property
    def faults(self) -> dict[str, Tensor]:
        """bool (N,) for every label but `valid`, and every kind of it where there are several."""
        return {name: self.of(name) for name in fault_names(dict(zip(self.names, self.label_names)))}


class Oracle(ABC):
    """Knows the rules that a data set was drawn by, and so the truth of any sample.

    Attributes:
        kinds: the label of each kind of sample; the first is `valid`.
    """

    kinds: ClassVar[Mapping[str, str]]

    @property
    @abstractmethod
    def tolerance(self) -> float:
        """The largest defect of a valid sample, in the unit of `Truth.defect_size`."""

    @property
    def part_of(self) -> Tensor | None:
        """int64 (H, W), the part of an image that each pixel belongs to; None where there are no parts."""
        return None

    @abstractmethod
    def truth(self, samples: Tensor, classes: Tensor | None = None) -> Truth:
        """The truth of any samples.

        Args:
            samples: images (N, C, H, W) in [-1, 1], or points (N, D).
            classes: (N,) that were asked for; None where there are none.
        Raises:
            DataError: samples of another shape.
        """

    @property
    def faults(self) -> list[str]:
        """Names of all that can be wrong: labels, and kinds where a label has several."""
        return fault_names(self.kinds)

    def require(self, names: Sequence[str], key: str) -> None:
        """Raise ConfigurationError for a fault that this oracle does not know.

        Args:
            key: of the configuration.
        """
        for name in names:
            if name not in self.faults:
                raise ConfigurationError(f"{key}: there is no fault '{name}' here.{did_you_mean(name, self.faults)}")

    def judged(self, kinds: Tensor, defect_size: Tensor, parts: Tensor, mask: Tensor | None = None) -> Truth:
        """The truth in the words of this oracle."""
        return Truth(kinds, tuple(self.kinds), tuple(self.kinds.values()), defect_size, parts, mask)

    def kind(self, name: str) -> int:
        """The place of a kind among all."""
        return list(self.kinds).index(name)


def fault_names(kinds: Mapping[str, str]) -> list[str]:
    """Labels but `valid`, each followed by its kinds where it has several."""
    found: list[str] = []
    for label in LABELS[1:]:
        own = [kind for kind, its_label in kinds.items() if its_label == label]
        found += ([label] if own else []) + (own if len(own) > 1 else [])
    return found


def grade(defect_size_N: Tensor, bounds: Sequence[float]) -> Tensor:
    """Places in `GRADES` of sizes beyond the tolerance: up to the first bound, up to the second, larger."""
    return torch.bucketize(defect_size_N, torch.tensor(bounds, dtype=torch.float64))


def checked(images: Tensor, height: int, width: int) -> Iterator[Tensor]:
    """Grey images (N, 1, H, W) as float64 (B, H, W) within [-1, 1], some at a time.

    NaN is mid-grey, which no real image has.

    Raises:
        DataError: another shape.
    """
    if images.ndim != 4 or tuple(images.shape[1:]) != (1, height, width):
        raise DataError(f"the oracle of these data knows images (N, 1, {height}, {width}), not {tuple(images.shape)}.")
    for some in images.split(AT_ONCE):
        yield some[:, 0].cpu().double().nan_to_num(nan=0.0).clamp(-1, 1)


def wrong(images: Tensor, expected: Tensor) -> Tensor:
    """How wrong each pixel is: the square of its error as a share of the range, 1 for white instead of black.

    Errors up to `GATE` are none: the grain of samples that are otherwise clean would add up.

    Args:
        images, expected: of the same shape, in [-1, 1].
    """
    return torch.where(off(images, expected), ((images - expected) / 2).square(), 0.0)


def off(images: Tensor, expected: Tensor) -> Tensor:
    """bool, the pixels that are wrong by more than grain: those that `wrong` counts, grey ones too."""
    return (images - expected).abs() > GATE
