"""The register of metrics: numbers of a set of samples beside real ones, for curves over the samples kept."""

from __future__ import annotations

from dataclasses import dataclass

from genuq.parts import Part, Register

SHARE = (0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class MetricPart(Part):
    """A metric of any subset of the samples.

    Its target is called once, with (fake_ND, real_RD), the judge's features (float, on the CPU), and by name, where it
    has them, `k` neighbours, `smallest_share` of the samples in the smallest subset that will be asked for,
    `reference`, a `genuq.metrics.Gaussian` in place of the mean and covariance of real_RD, or None, and
    `neighbourhood`, the samples' `genuq.metrics.Neighbourhood` where it is known, or None. What it makes is called with
    the distinct indices of a subset and returns a mapping with the metric's `name`; metrics that share a target share
    its work. Where it has a method `nested`, that is called in its place with subsets each of which holds the next, and
    returns a mapping for each.

    Attributes:
        lower_is_better: the direction in which it is good.
        bounds: the smallest and the largest value it can have.
    """

    group: str = "metric"
    lower_is_better: bool | None = False
    bounds: tuple[float, float] = SHARE

    @property
    def supplied(self) -> frozenset[str]:
        return frozenset({"k", "smallest_share", "reference", "neighbourhood"})

    @property
    def leading(self) -> int:
        return 2


METRICS = Register(MetricPart, "genuq.analysis", "metric.curves")
CURVES = ("fid", "precision", "recall", "density", "coverage")  # those of an evaluation that names none
