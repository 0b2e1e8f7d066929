"""What the report's words mean: names and directions of the metrics, and a glossary of one sentence each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from genuq import analysis, posteriors
from genuq.analysis.numbers import AUROC_OF, KEPT, SHARE_OF
from genuq.analysis.results import Results
from genuq.analysis.score_entries import ScoreEntry
from genuq.analysis.seeds import UNBOUNDED
from genuq.parts import Register
from genuq.scores import SCORES

SHARE, POSITIVE = (0.0, 1.0), (0.0, math.inf)


@dataclass(frozen=True)
class Metric:
    """Name of a metric, the direction in which it is better, and the smallest and largest value it can have."""

    label: str
    lower_is_better: bool
    bounds: tuple[float, float] = UNBOUNDED

    @property
    def direction(self) -> str:
        return "lower is better" if self.lower_is_better else "higher is better"


MEASURES = {  # of a score, in the records of runs
    "auroc": Metric("AUROC", False, SHARE),
    "within_classes": Metric("AUROC within classes", False, SHARE),
    "adds": Metric("Adds to controls", False, (-1.0, 1.0)),
    "ause": Metric("AUSE", True),
    "evaluations": Metric("Evaluations", True),
    "spearman": Metric("Spearman", True, (-1.0, 1.0)),  # with what is good: realism, confidence, membership
    "spearman_clip_score": Metric("Spearman with CLIP score", True, (-1.0, 1.0)),
}
OF_ALL_SAMPLES = {
    "sample_accuracy": Metric("Accuracy of the samples", False, SHARE),
    "clip_score": Metric("CLIP score", False, (0.0, 100.0)),
}
TARGETS = {
    "confidence": "Confidence",
    "realism": "Realism",
    "membership": "Membership",
    "clip_score": "CLIP score",
}
STATISTICS = {"spearman": "Spearman", "kendall": "Kendall", "partial_spearman": "Partial Spearman"}

KIND_TITLES = {"score": "Scores", "baseline": "Baselines", "control": "Controls", "oracle": "Oracles"}
CRITERIA = {
    "evidence": "highest log marginal likelihood",
    "predictive": "highest held-out predictive density",
    "perturbation": "relative perturbation asked for",
    "given": "given",
    "match": "as large as another posterior",
    "members": "spread of its members",
}


class Directions(Mapping[str, Metric]):
    """Name, direction and bounds of the metrics, each declared beside what it is; read when they are asked for."""

    def __getitem__(self, name: str) -> Metric:
        if name not in analysis.METRICS:
            raise KeyError(name)
        part = analysis.METRICS[name]
        return Metric(part.label, bool(part.lower_is_better), part.bounds)

    def __iter__(self) -> Iterator[str]:
        return iter(analysis.METRICS)

    def __len__(self) -> int:
        return len(analysis.METRICS)


class Words(Mapping[str, tuple[str, str]]):
    """Label and description of the parts of a register, each declared beside what it is; read when they are asked for.

    Args:
        facts: only parts with these attributes, for instance kind="baseline".
    """

    def __init__(self, register: Register[Any], **facts: str) -> None:
        self.register, self.facts = register, facts

    def __getitem__(self, name: str | None) -> tuple[str, str]:
        if name is None or name not in self.register.names(**self.facts):
            raise KeyError(name)
        return self.register[name].label, self.register[name].description

    def __iter__(self) -> Iterator[str]:
        return iter(self.register.names(**self.facts))

    def __len__(self) -> int:
        return len(self.register.names(**self.facts))


METRICS = Directions()
POSTERIORS = Words(posteriors.POSTERIORS)
BASELINES = Words(SCORES, kind="baseline")
OVER_HEAD = Words(posteriors.POSTERIORS, scope="head")

GLOSSARY = {
    "uncertainty": (
        "Generative uncertainty",
        "How much a sample changes when other plausible weights of the model regenerate it from the same noise; "
        "measured as the entropy of the sample's features over the weight draws.",
    ),
    "draw": (
        "Weight draw",
        "One set of weights drawn at random from the posterior; every sample is regenerated with it, all else equal.",
    ),
    "posterior": (
        "Posterior",
        "The distribution of network weights that the training data leave plausible, centred on the trained weights.",
    ),
    "unperturbed": ("Unperturbed sample", "The sample that the trained weights make; the only one a user would see."),
    "score": ("Score", "A number for each sample; the higher it is, the less the sample should be trusted."),
    "control": (
        "Control",
        "A score with no Bayesian content, such as chance, image complexity or injected noise; "
        "a claim about uncertainty holds only if the score beats the controls.",
    ),
    "baseline": (
        "Baseline",
        "A score from the literature that is read off the sampler's own run, without a posterior.",
    ),
    "oracle": (
        "Oracle",
        "A score that sees the real data it is judged by; an upper reference, never a competitor.",
    ),
    "fid": (
        "FID",
        "Fréchet distance between the features of generated and of real images; lower is better, "
        "and it can be compared only at equal sample size and with the same extractor.",
    ),
    "precision": ("Precision", "The share of generated samples that lie inside the manifold of the real images."),
    "recall": ("Recall", "The share of real images that lie inside the manifold of the generated samples: diversity."),
    "density": ("Density", "Like precision, but counts how many real neighbourhoods contain each generated sample."),
    "coverage": ("Coverage", "The share of real images whose neighbourhood contains at least one generated sample."),
    "retention": (
        "Retention curve",
        "A metric of the samples that remain when the least trusted ones are removed, against the fraction kept.",
    ),
    "random": (
        "Random, equal N",
        "The same metric when as many samples are removed at random; the band is its 95 % interval.",
    ),
    "gain": (
        "Gain",
        "The area between a score's retention curve and the random one, signed so that positive is better.",
    ),
    "bins": ("Quantile bins", "The samples cut into groups of equal size, from the lowest score to the highest."),
    "confidence": ("Confidence", "The probability that the judge's classifier gives to the sample's class."),
    "membership": (
        "Membership",
        "Whether the sample lies inside the manifold of the real images: "
        "closer to some real image than that image's own k-th nearest real neighbour.",
    ),
    "realism": (
        "Realism",
        "How far inside the manifold of the real images a sample lies; at 1 or more it is a member.",
    ),
    "clip_score": (
        "CLIP score",
        "How well an image shows its prompt: 100 times the cosine between CLIP's embeddings of the two, 0 where it is "
        "negative.",
    ),
    "complexity": ("Complexity", "How hard the image is to compress; simple images look certain to many scores."),
    "spearman": (
        "Spearman correlation",
        "Agreement of two rankings, from −1 (reversed) through 0 (unrelated) to 1 (the same).",
    ),
    "kendall": ("Kendall correlation", "Agreement of two rankings, counted over pairs of samples; from −1 to 1."),
    "partial_spearman": (
        "Partial Spearman",
        "The Spearman correlation that is left when class and image complexity are accounted for.",
    ),
    "auroc": (
        "AUROC",
        "The probability that a bad sample has a higher score than a good one; 0.5 is chance and 1 is perfect.",
    ),
    "within_classes": (
        "AUROC within classes",
        "AUROC over the pairs of a bad and a good sample of one class: what is left where the class tells nothing.",
    ),
    "adds": (
        "Adds to controls",
        "How much the AUROC rises when a model that knows the class, the complexity and the controls is given the "
        "score as well, on samples that the model has not seen; above zero, the score knows something they do not.",
    ),
    "ause": (
        "AUSE",
        "Area between the error curve of removing samples by score and that of removing the truly worst first; "
        "0 is perfect.",
    ),
    "interval": ("95 % interval", "The range that the number takes when the samples are drawn again with replacement."),
    "judge": (
        "Judge",
        "The feature extractor and classifier that measure quality; it must not be the one that makes the score.",
    ),
    "extractor": ("Extractor", "A network that turns an image into a vector of features in which images are compared."),
    "n_effective": ("Effective data", "The number of training images that the posterior counts as evidence."),
    "n_seen": ("Images seen", "The number of images whose curvature was summed when the posterior was fitted."),
    "observation_noise": (
        "Observation noise",
        "Variance s² of what the network cannot predict; the smaller, the narrower the posterior.",
    ),
    "prior_precision": (
        "Prior precision",
        "How strongly the prior holds each weight in place; the larger, the narrower the posterior.",
    ),
    "effective_parameters": (
        "Decided by data",
        "How many directions of the weights the data decide, as the sum of l / (l + d) over curvatures l and the prior "
        "precision d; near zero, the draws are noise of the prior's size.",
    ),
    "temperature": ("Temperature", "Divides the weight of the data; 1 is Bayes' rule, and the lower, the narrower."),
    "relative_perturbation": (
        "Relative perturbation",
        "Mean size of a weight draw's change, as a fraction of the size of the trained weights.",
    ),
    "criterion": (
        "Size of the draws",
        "What decided how far the draws move the weights: a criterion on data, or a size that was given.",
    ),
    "evidence": (
        "Log marginal likelihood",
        "How probable the data are when the weights are averaged out; its highest value chooses the prior precision.",
    ),
    "predictive": (
        "Held-out predictive density",
        "How probable held-out images are under the posterior's predictions; "
        "its highest value chooses a factor of the covariance.",
    ),
    "noise_profile": (
        "Noise profile",
        "Observation noise in equal bins of time t, from the image at 0 to pure noise at 1.",
    ),
    "pixel_map": (
        "Pixel map",
        "Standard deviation that weight uncertainty gives each pixel of a sample, as a share of the image's range.",
    ),
    "propagator": (
        "Propagator",
        "What carries the weights' variance along the sampler's steps to the pixels, while the image stays as it is.",
    ),
    "evaluations": (
        "Evaluations",
        "Calls of the network for one sample; the cost that does not depend on the machine.",
    ),
}


def glossary_of(results: Results) -> dict[str, tuple[str, str]]:
    """The words of a run: all that are general, and the posteriors and baselines that it has."""
    present = {entry.name for entry in results.posteriors} | {entry.name for entry in results.scores}
    return {
        key: words
        for key, words in {**GLOSSARY, **POSTERIORS, **BASELINES}.items()
        if key in GLOSSARY or key in present
    }


def known_first(metrics: Iterable[str]) -> list[str]:
    """Each metric once, those of `METRICS` in their order before all others."""
    found = set(metrics)
    return [name for name in METRICS if name in found] + sorted(found - set(METRICS))


def metrics_in(scores: Iterable[ScoreEntry], part: str) -> list[str]:
    """Names of the metrics that any score has under `part` (`curves`, `gains`, `per_class_gains`, `bins`)."""
    return known_first(metric for score in scores for metric in getattr(score, part) or {})


def metric_label(metric: str) -> str:
    return METRICS[metric].label if metric in METRICS else metric


def direction(metric: str) -> str:
    """Which way a metric is better, where that is known."""
    return METRICS[metric].direction if metric in METRICS else ""


def measure_of(name: str) -> Metric | None:
    """What is known of a number of a run by its name, `entropy/auroc`, `entropy/fid_gain`, `fid`, `seconds/fit`."""
    of, _, last = name.rpartition("/")
    if of == "seconds":
        return Metric(f"Seconds of {last}", True, POSITIVE)
    if last.endswith("_gain") and last.removesuffix("_gain") in METRICS:
        return Metric(f"{METRICS[last.removesuffix('_gain')].label} gain", False)
    if last.endswith(KEPT) and last.removesuffix(KEPT) in METRICS:
        of_all = METRICS[last.removesuffix(KEPT)]
        return Metric(f"{of_all.label} of those kept", of_all.lower_is_better, of_all.bounds)
    if last.startswith(AUROC_OF):
        return Metric(f"AUROC of {fault_words(last.removeprefix(AUROC_OF))}", False, SHARE)
    if not of and last.startswith(SHARE_OF):
        return Metric(f"Share of {fault_words(last.removeprefix(SHARE_OF))}", True, SHARE)
    return METRICS.get(last) or (MEASURES | OF_ALL_SAMPLES).get(last)


def target_words(target: str) -> str:
    """What a score was correlated with, inside of a sentence."""
    label = TARGETS.get(target, target)
    return label if label[:2].isupper() else label.lower()


def fault_words(fault: str) -> str:
    """A fault that an oracle knows, in words."""
    return fault.replace("_", " ")
