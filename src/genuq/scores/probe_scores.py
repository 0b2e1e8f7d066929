"""Scores of finished samples that are noised again: what the network, weight draws or other classes make of them.

Functions of a `genuq.scores.shared.Probe`; they need no seed of the sample, and score any image. A time is the noise
level sigma / (alpha + sigma), t of flow matching. K noisings are one evaluation each.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.parts.bounds import Count, Paired, Several, Times
from genuq.scores.registry import SCORES
from genuq.scores.shared.nested import Components, components
from genuq.scores.shared.predictions import NULL, disagreement
from genuq.scores.shared.probe import Probe

ISOTROPIC = "isotropic"


@SCORES.add(
    label="Re-noised disagreement",
    source="probe",
    needs=frozenset({"members"}),
    keys={"times": "renoised_times", "noisings": "probe_noisings"},
)
def renoised_disagreement(
    probe: Probe, times: Times = (0.3,), noisings: Paired = 4, members: Count | None = None
) -> Tensor:
    """Variance of x0_hat over the weights when the finished sample is noised again, summed over dimensions.

    Biased variance over the trained weights and M draws, which see the same noise; mean over noisings and times. In the
    space of the process. K (1 + M) evaluations a time.

    Args:
        times: noise levels between 0 and 1.
        noisings: K of each sample, in antithetic pairs.
        members: M draws of the weights; None: all of the posterior's.
    """
    return disagreement(probe, probe.at(times, noisings), members)


@SCORES.add(
    label="Semantic re-noised disagreement",
    source="probe",
    needs=frozenset({"members", "encoder"}),
    keys={"times": "renoised_times", "noisings": "probe_noisings"},
)
def renoised_disagreement_semantic(
    probe: Probe, times: Times = (0.3,), noisings: Paired = 4, members: Count | None = None
) -> Tensor:
    """`renoised_disagreement` in the likelihood's space, to which x0_hat is decoded and embedded.

    Args:
        times: noise levels between 0 and 1.
        noisings: K of each sample, in antithetic pairs.
        members: M draws of the weights; None: all of the posterior's.
    """
    return disagreement(probe, probe.at(times, noisings), members, semantic=True)


@SCORES.add(
    label="Re-noised disagreement of isotropic noise",
    kind="control",
    source="probe",
    needs=frozenset({"members", "isotropic"}),
    keys={"times": "renoised_times", "noisings": "probe_noisings"},
)
def renoised_isotropic(
    probe: Probe, times: Times = (0.3,), noisings: Paired = 4, members: Count | None = None
) -> Tensor:
    """`renoised_disagreement` of weight noise of the posterior's size that knows no data.

    Args:
        times: noise levels between 0 and 1.
        noisings: K of each sample, in antithetic pairs.
        members: M draws of the noise; None: as many as the posterior has.
    """
    return disagreement(probe, probe.at(times, noisings), members, ISOTROPIC)


def renoised_components(
    probe: Probe, times: Times, pairs: int, members: Count | None, semantic: bool = False
) -> list[Components]:
    """The parts of the variance of x0_hat (of its features where `semantic`), one for each time.

    A pair of antithetic noisings counts as one noise: their mean is what weight draws are asked for.

    Raises:
        ConfigurationError: fewer than two weight draws.
    """
    found = probe.versions(probe.at(times, 2 * pairs), members, semantic=semantic, own=False)
    if len(found[0]) < 2:
        raise ConfigurationError("score.members = 1; the variance over weight draws needs at least 2 of them.")
    return [components(values.unflatten(1, (pairs, 2)).mean(2)) for values in found]


@SCORES.add(
    label="Re-noised epistemic variance",
    source="probe",
    needs=frozenset({"members", "several"}),
    keys={"times": "renoised_times", "pairs": "nested_pairs"},
)
def renoised_epistemic(probe: Probe, times: Times = (0.3,), pairs: Several = 2, members: Count | None = None) -> Tensor:
    """Variance over the weights of what x0_hat is on average over re-noisings, summed over dimensions: without bias.

    `renoised_disagreement` is as large where weights differ in how they take this or that noise. Here that part, known
    from several noisings of each of the weight draws, is taken off (nested estimator); the trained weights are no draw.
    Mean over times. 2 K M evaluations a time, which it shares with the disagreement.

    Args:
        times: noise levels between 0 and 1.
        pairs: K antithetic pairs of noisings of each sample.
        members: M draws of the weights, at least 2; None: all of the posterior's.
    """
    return torch.stack([part.between for part in renoised_components(probe, times, pairs, members)]).mean(0)


@SCORES.add(
    label="Semantic re-noised epistemic variance",
    source="probe",
    needs=frozenset({"members", "several", "encoder"}),
    keys={"times": "renoised_times", "pairs": "nested_pairs"},
)
def renoised_epistemic_semantic(
    probe: Probe, times: Times = (0.3,), pairs: Several = 2, members: Count | None = None
) -> Tensor:
    """`renoised_epistemic` in the likelihood's space, to which x0_hat is decoded and embedded.

    Args:
        times: noise levels between 0 and 1.
        pairs: K antithetic pairs of noisings of each sample.
        members: M draws of the weights, at least 2; None: all of the posterior's.
    """
    parts = renoised_components(probe, times, pairs, members, semantic=True)
    return torch.stack([part.between for part in parts]).mean(0)


@SCORES.add(
    label="Epistemic share of the re-noised variance",
    source="probe",
    needs=frozenset({"members", "several"}),
    keys={"times": "renoised_times", "pairs": "nested_pairs"},
)
def renoised_epistemic_share(
    probe: Probe, times: Times = (0.3,), pairs: Several = 2, members: Count | None = None
) -> Tensor:
    """`renoised_epistemic` as a share of the whole variance of x0_hat, over weights and re-noisings; mean over times.

    Args:
        times: noise levels between 0 and 1.
        pairs: K antithetic pairs of noisings of each sample; the variance over re-noisings is that of their means.
        members: M draws of the weights, at least 2; None: all of the posterior's.
    """
    return torch.stack([part.share for part in renoised_components(probe, times, pairs, members)]).mean(0)


@SCORES.add(
    name="lid",
    label="Re-noising loss (LID)",
    kind="baseline",
    source="probe",
    keys={"times": "lid_times", "noisings": "probe_noisings"},
)
def lid(probe: Probe, times: Times = (0.1,), noisings: Paired = 4) -> Tensor:
    """Mean squared error of the noise that the network finds in the finished sample noised a little.

    It grows with the local intrinsic dimension of the data around the sample. Mean over dimensions, noisings and times;
    K evaluations a time.

    Args:
        times: noise levels between 0 and 1.
        noisings: K of each sample, in antithetic pairs.
    Source: arXiv 2605.05026; Kamkari et al., A Geometric View of Data Complexity, arXiv 2406.03537.
    """
    levels = probe.at(times, noisings)
    return torch.stack([probe.residual(level) for level in levels]).mean(0)


@SCORES.add(
    label="Lack of self-confidence",
    kind="baseline",
    source="probe",
    keys={"times": "self_confidence_times", "noisings": "probe_noisings"},
)
def self_confidence(probe: Probe, times: Times = (0.5,), noisings: Paired = 4) -> Tensor:
    """Minus the self-confidence: log of the mean squared error of the noise found at a middle level.

    Mean over times; K evaluations a time.

    Args:
        times: noise levels between 0 and 1.
        noisings: K of each sample, in antithetic pairs.
    Source: SOLACE, arXiv 2603.00918.
    """
    levels = probe.at(times, noisings)
    return torch.stack([probe.residual(level).log() for level in levels]).mean(0)


@SCORES.add(
    label="Class margin",
    kind="baseline",
    source="probe",
    needs=frozenset({"classes"}),
    keys={"times": "margin_times", "noisings": "probe_noisings"},
)
def class_margin(probe: Probe, times: Times = (0.5,), noisings: Paired = 4) -> Tensor:
    """Re-noising loss of the class asked for minus the least of the other classes': above 0, another class fits better.

    Mean over times; K evaluations a time for each of the classes. With one class alone, its loss.

    Args:
        times: noise levels between 0 and 1.
        noisings: K of each sample, in antithetic pairs.
    Source: the diffusion classifier of Li et al., arXiv 2303.16203; the margin as a score of samples ours.
    """
    margins = []
    for level in probe.at(times, noisings):
        others = [probe.residual(level, other) for other in range(1, probe.num_classes)]
        least = torch.stack(others).amin(0) if others else torch.zeros(())
        margins.append(probe.residual(level) - least.to(probe.latents.device))
    return torch.stack(margins).mean(0)


@SCORES.add(
    label="Score norm",
    kind="control",
    source="probe",
    keys={"times": "score_norm_times", "noisings": "probe_noisings"},
)
def score_norm(probe: Probe, times: Times = (0.1,), noisings: Paired = 4) -> Tensor:
    """Mean square of the noise that the network finds in the finished sample noised a little; K evaluations a time.

    Args:
        times: noise levels between 0 and 1.
        noisings: K of each sample, in antithetic pairs.
    """
    levels = probe.at(times, noisings)
    return torch.stack([probe.eps(level).square().flatten(2).mean((0, 2)) for level in levels]).mean(0)


@SCORES.add(
    label="Null gap",
    kind="baseline",
    source="probe",
    needs=frozenset({"classes", "null"}),
    keys={"times": "null_gap_times", "noisings": "probe_noisings"},
)
def null_gap(probe: Probe, times: Times = (0.3,), noisings: Paired = 4) -> Tensor:
    """How far the class asked for moves the noise found in the finished sample noised again; the null class is beside.

    Squared distance of the two eps_hat, mean over dimensions, noisings and times; 2 K evaluations a time.

    Args:
        times: noise levels between 0 and 1.
        noisings: K of each sample, in antithetic pairs.
    """
    gaps = [probe.eps(level) - probe.eps(level, NULL) for level in probe.at(times, noisings)]
    return torch.stack([gap.square().flatten(2).mean((0, 2)) for gap in gaps]).mean(0)
