"""What all parts of a group share and no class of the library takes: options of a run, by group."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from genuq.parts.bounds import Count, Items, Limits, OneOf, Several
from genuq.parts.targets import located

CURVES = "genuq.analysis.metrics:CURVES"


@dataclass
class Draws:
    """What all posteriors share.

    Attributes:
        draws: M weight draws of each sample (DIFF-UQ uses 5); of an ensemble at most the number of its members.
    """

    draws: Several = 5


@dataclass
class Sized:
    """Of weight noise.

    Attributes:
        match: the posterior whose size it takes: `posterior`, or a name of `beside`.
    """

    match: str | None = None


@dataclass
class Drawn:
    """Of all samplers.

    Attributes:
        samples: how many.
        keep_path: also keep the states of every step and what the network answered there, for scores of the path
            that are computed later; twice the size of an image a step, three times with guidance.
    """

    samples: Count = 1024
    keep_path: bool = False


@dataclass
class Subset:
    """Of all data sets.

    Attributes:
        subset: train on a seeded uniform subset of this many; None: all.
        starve: by name of a class, the share of its images that the training set keeps; 0 leaves the class out.
        permute: the label of a class that is left out goes to random images of the others; else nothing has it.
    """

    subset: Count | None = None
    starve: dict[str, float] = field(default_factory=dict)
    permute: bool = True


@dataclass
class Embedded:
    """Of a likelihood that embeds.

    Attributes:
        extractor: a name of `genuq.extractors.EXTRACTORS`, or a class path.
        options: of the extractor: `image_size`, `checkpoint`, ...
    """

    extractor: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Regenerations:
    """Of all likelihoods.

    Attributes:
        include_unperturbed: the unperturbed sample counts as one more draw (DIFF-UQ).
        batch_size: samples at a time; changes no number.
    """

    include_unperturbed: bool = True
    batch_size: Count = 64


@dataclass
class Columns:
    """Of all scores.

    Attributes:
        name: the score that the run is about, a name of `genuq.scores.SCORES`.
        also: further ones in the table.
        controls: what should not work, beside it.
        weak_checkpoint: file of an earlier checkpoint of the network, for `weak_model_gap`; `reference:VARIANT` for one
            that is shipped with genuq.
        maps: keep the variance of each pixel of the disagreements in pixels, and judge it where an oracle knows the
            wrong ones.
        budget: the most that sampling with the score may cost over sampling alone, in network evaluations: a pilot
            chooses the points, times, members and noisings whose ranking is nearest to that of all of them. Of the
            score `name`, made at points of the path or of finished samples noised again; None: all of them.
        stop: the cheapest part of this work whose `ranking`, or `decision` which samples to keep, a pilot shows to be
            that of all of it, up to `tolerance`; None: all of it.
        tolerance: of `stop`: 1 less Spearman's correlation, or the share of samples that are kept by one and dropped by
            the other; the probability that it is more is at most 5 %.
        pilot: samples that choose, none of the run's own.
        frontier: also score with the first few points, times, members and noisings, whatever their number, for a figure
            of what each finds and costs.
    """

    name: str = "entropy"
    also: Annotated[list[str], Items(0, distinct=True)] = field(default_factory=list)
    controls: Annotated[list[str], Items(0, distinct=True)] = field(
        default_factory=lambda: ["random", "complexity", "direct_noise", "jitter", "isotropic"]
    )
    weak_checkpoint: str | None = None
    maps: bool = False
    budget: Annotated[float, Limits(least=1)] | None = None
    stop: Annotated[str, OneOf("ranking", "decision")] | None = None
    tolerance: Annotated[float, Limits(above=0, below=1)] = 0.1
    pilot: Annotated[int, Limits(16, 65536)] = 64
    frontier: bool = False


@dataclass
class Judged:
    """Who judges, beside `EvaluationSettings`.

    Attributes:
        extractor: classifier, points, a name of `genuq.extractors.EXTRACTORS`, or a class path.
        options: of the extractor.
        reference_images: real test images.
        statistics: .npz of others with `mu` and `sigma` of the judge's features, which the FIDs of the evaluation
            compare with in place of these images.
        reference: what all metrics compare with in place of the test images: ADM's reference batch (.npz with `arr_0`),
            or a folder of the judge's features (.npy or .safetensors).
        allow_shared_extractor: mark, do not refuse, a judge that is also the scoring encoder.
        truth: what says which samples are bad: `judge`, or `oracle`, the rules that the data were drawn by.
        bad: of an oracle, the faults that count as bad; none: all. Samples with other faults are then left out.
        curves: the metrics of curves and bins, names of `genuq.analysis.METRICS` or class paths.
        prompt_model: a CLIP whose score says how well samples show their prompts: the folder that save_pretrained of
            transformers' CLIPModel and CLIPProcessor wrote, or OWNER/NAME of the hub; None: no CLIP score.
        download: of prompt_model, fetch what the hub's cache lacks.
    """

    extractor: str = "classifier"
    options: dict[str, Any] = field(default_factory=dict)
    reference_images: Several = 5000
    statistics: str | None = None
    reference: str | None = None
    allow_shared_extractor: bool = False
    truth: Annotated[str, OneOf("judge", "oracle")] = "judge"
    bad: Annotated[list[str], Items(0, distinct=True)] = field(default_factory=list)
    curves: Annotated[list[str], Items(1, distinct=True)] = field(default_factory=lambda: list(located(CURVES, CURVES)))
    prompt_model: str | None = None
    download: bool = False


@dataclass
class Counted:
    """Which pixels the score of a propagator counts.

    Attributes:
        mask: image file of the images' size: only its white pixels count.
    """

    mask: str | None = None


@dataclass
class Trained:
    """Of all trainers.

    Attributes:
        start_from: a checkpoint whose weights the training starts from; None: fresh ones.
        early_step: also leave `early.safetensors`, the averaged weights after this many of the steps: the earlier
            checkpoint that `weak_model_gap` compares with; None: no such file.
        autoencoder_steps: of latent diffusion with our autoencoder.
        judge_steps: of the stage judge.
    """

    start_from: str | None = None
    early_step: Count | None = None
    autoencoder_steps: Count = 1500
    judge_steps: Count = 1400


@dataclass
class Wandb:
    """Weights & Biases.

    Attributes:
        project, entity: where the runs go; None: wandb's own choice.
        mode: offline or online.
        samples: rows in the table of samples, evenly through the ranking.
    """

    project: str = "genuq"
    entity: str | None = None
    mode: Annotated[str, OneOf("offline", "online")] = "offline"
    samples: Several = 64
