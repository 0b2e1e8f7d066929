"""Structured schemas: the types of every configuration key. YAML in conf/ gives the values, with units and sources."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf


@dataclass
class DataConfig:
    name: str = MISSING  # a name of genuq.data.DATASETS
    root: str | None = None  # folder with the data; null: cache, packages, download
    image_size: int | None = None  # image_folder: pixels after the crop
    channels: int | None = None  # image_folder: 1 or 3
    modes: int | None = None  # gaussian_mixture: 8 or 25
    size: int | None = None  # gaussian_mixture: points
    standard_deviation: float | None = None  # gaussian_mixture: of a mode
    seed: int | None = None  # gaussian_mixture: of the points
    subset: int | None = None  # train on a seeded uniform subset of this many


@dataclass
class ProcessConfig:
    name: str = MISSING  # flow_matching or variance_preserving
    schedule: str = "linear"  # variance_preserving: linear, scaled_linear, cosine
    train_timesteps: int = 1000  # variance_preserving: entries of the table


@dataclass
class AutoencoderConfig:
    name: str = MISSING  # vae or diffusers
    latent_channels: int | None = None  # vae
    channels: list[int] | None = None  # vae: hidden features
    path: str | None = None  # diffusers: folder of save_pretrained, or hub name
    class_name: str | None = None  # diffusers: AutoencoderKL, AutoencoderTiny, ...


@dataclass
class ModelConfig:
    name: str = MISSING
    process: ProcessConfig = field(default_factory=ProcessConfig)
    prediction: str = MISSING  # epsilon, sample, v_prediction, flow
    class_conditional: bool = True
    head: str | None = None  # dotted name of the last weighted layer; null: the last Conv2d or Linear
    checkpoint: str | None = None  # reference: shipped with genuq; a path; null: this run's own training
    autoencoder: AutoencoderConfig | None = None  # null: the process runs on pixels


@dataclass
class UNetConfig:
    name: str = "unet"
    channels: list[int] = field(default_factory=lambda: [32, 80])
    blocks: int = 1
    stem: int = 2
    dropout: float = 0.0


@dataclass
class DiTConfig:
    name: str = "dit"
    patch: int = 2
    width: int = 128
    depth: int = 6
    heads: int = 4


@dataclass
class MLPConfig:
    name: str = "mlp"
    width: int = 128
    depth: int = 3


@dataclass
class SamplerConfig:
    name: str = MISSING  # a name of genuq.solvers.SOLVERS
    steps: int = 20
    spacing: str = "uniform_time"
    eta: float | None = None  # ddim only
    guidance_scale: float = 1.0
    samples: int = 1024
    classes: list[int] | None = None
    batch_size: int = 64  # also the size of a shard


@dataclass
class PosteriorConfig:
    """One posterior. None: the posterior has no such option, or the value is chosen from data."""

    name: str = MISSING  # a name of genuq.posteriors.POSTERIORS
    draws: int = 5
    images: int = 4096
    held_out: int = 512
    repeats: int = 1  # (t, eps) of each image
    batch_size: int = 64
    time_bins: int = 1  # of the noise variance, for posteriors over the head
    convention: str | None = None  # diagonal_laplace: ggn, empirical_fisher, laplace_torch
    layers: list[str] | None = None  # over several layers: [all], [head], or names with *
    approximation: str | None = None  # kfac: expand, reduce
    fisher_draws: int = 1  # Monte-Carlo Fisher, over several layers
    fraction: float | None = None  # subnetwork_laplace: share of the weights
    weights: int | None = None  # subnetwork_laplace: how many, in place of the fraction
    subset_seed: int | None = None  # subnetwork_laplace
    rate: float | None = None  # mc_dropout
    members: int | None = None  # ensembles; swag: snapshots
    checkpoints: str | None = None  # ensembles: finished members, a pattern of paths or `reference`; null makes them
    steps: int | None = None  # of a member's training; null: trainer.steps
    learning_rate: float | None = None  # null: trainer.learning_rate
    rank: int | None = None  # posthoc_ensemble: of the members' differences, null for full; swag: snapshots kept
    prior_relative_size: float | None = None  # posthoc_ensemble: of the prior, over each tensor's root mean square
    perturb_targets: bool | None = None  # posthoc_ensemble: noise of s^2 on the targets, fixed for each image
    bits: int | None = None  # posthoc_ensemble: of each number kept: 8, 16, 32
    gaussian: bool | None = None  # posthoc_ensemble: normal draws beyond the last member
    match: str | None = None  # isotropic, isotropic_network: the posterior whose size it takes
    criterion: str = "evidence"  # evidence, predictive, perturbation
    n_effective: float | None = None
    observation_noise: float | None = None
    prior_precision: float | None = None
    temperature: float | None = None
    relative_perturbation: float | None = None


@dataclass
class LikelihoodConfig:
    name: str = MISSING  # semantic or pixel
    extractor: str | None = None  # a name of genuq.extractors, for the semantic likelihood
    options: dict[str, Any] = field(default_factory=dict)  # of the extractor: image_size, checkpoint, ...
    observation_variance: float | None = None
    normalise: bool = False
    include_unperturbed: bool = True
    batch_size: int = 64


@dataclass
class ScoreConfig:
    name: str = "entropy"  # a name of genuq.scores.SCORES: the score that the run is about
    also: list[str] = field(default_factory=list)  # further ones in the table
    controls: list[str] = field(default_factory=list)
    jitter_size: float = 0.02
    noise_standard_deviation: float = 0.05
    window: list[float] | None = None  # baselines along the trajectory: fractions of the steps; null: their own
    renoisings: int = 5  # aleatoric
    probes: int = 1  # divergence, likelihood
    likelihood_steps: int = 20  # likelihood


@dataclass
class MetricConfig:
    extractor: str = "classifier"
    options: dict[str, Any] = field(default_factory=dict)
    k: int = 5
    reference_images: int = 5000
    fractions: list[float] = field(default_factory=lambda: [1.0, 0.9, 0.8, 0.7, 0.6, 0.5])
    bins: int = 8
    bootstrap: int = 1000
    half_samples: int = 100
    random_repeats: int = 50
    per_class: bool = True
    allow_shared_extractor: bool = False


@dataclass
class FilterConfig:
    name: str = "filter"
    fraction: float | None = None
    count: int | None = None
    threshold: float | None = None
    per_class: bool = False


@dataclass
class BestOfNConfig:
    name: str = "best_of_n"
    n: int = 4


@dataclass
class AugmentConfig:
    name: str = "augment"
    samples: int = 64
    cut: float = 0.8
    candidates: int = 4
    spread: float = 1.0
    propagator: str = "trajectory"  # a name of genuq.propagators.PROPAGATORS


@dataclass
class RectifyConfig:
    name: str = "rectify"
    failed: float = 0.25
    failed_by: str = "witnesses"  # or score
    cut: float = 0.8
    region: float = 0.5
    dilate: int = 1
    candidates: int = 16
    spread: float = 3000.0
    noise: str = "renewed"  # renewed or added
    hold: bool = False
    rule: str = "witnesses"  # witnesses, score or both
    margin: float = 0.1
    witnesses: list[str] = field(default_factory=lambda: ["scoring", "pixels"])  # scoring, or names of genuq.extractors
    witness_images: int = 8192
    rise: float | None = None  # null: calibrated, as `sure` asks
    sure: float = 0.98
    propagator: str = "trajectory"


@dataclass
class GuideConfig:
    name: str = "guide"
    samples: int = 64
    window: list[float] = field(default_factory=lambda: [0.4, 0.8])
    renoisings: int = 4
    region: float = 0.2
    strength: float = 1.0
    pixels: str = "uncertain"


@dataclass
class PropagatorConfig:
    """What the propagators share."""

    name: str = MISSING
    reduce: str = "sum"  # of the pixels' variances to one score: sum, mean, top
    share: float = 0.01  # of the pixels, for top
    mask: str | None = None  # image file: only its white pixels count
    map_method: str = "draws"  # latent models: draws (decoded) or linear (the decoder's Jacobian)
    map_draws: int = 16


@dataclass
class TrajectoryConfig(PropagatorConfig):
    name: str = "trajectory"
    data_variance: float | None = 0.1


@dataclass
class CorrectedConfig(PropagatorConfig):
    name: str = "corrected"
    covariance: str = "jvp"
    probes: int = 1
    states: str = "carried"
    skip: int = 1
    ancestral: str = "integrated"
    derivative: str = "difference"


@dataclass
class CoherentConfig(PropagatorConfig):
    name: str = "coherent"
    draws: int | None = 8
    derivative: str = "difference"


@dataclass
class PaperConfig(PropagatorConfig):
    name: str = "paper"
    states: int = 10
    skip: int = 1


@dataclass
class TrainerConfig:
    steps: int = 3000
    batch_size: int = 128
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    weight_decay: float = 0.0
    ema_decay: float = 0.999
    class_dropout: float = 0.1
    gradient_clip: float = 1.0
    checkpoint_every: int = 250
    start_from: str | None = None
    autoencoder_steps: int = 1500
    judge_steps: int = 2000
    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"
    precision: str = "32-true"


@dataclass
class LoggerConfig:
    name: str = "csv"  # csv, wandb or none
    project: str = "genuq"  # the rest is wandb's
    entity: str | None = None
    mode: str = "offline"  # or online
    samples: int = 64


@dataclass
class Config:
    """The whole configuration. `model` is genuq's schema or that of a function of the user's own; `network` is one of
    three schemas by its name; `propagator` and `application` are one of theirs, or none.
    """

    name: str = MISSING
    seed: int = 0
    stages: list[str] = field(default_factory=list)
    device: str = "auto"
    store: str = "outputs/store"
    objective: str | None = None  # a number of the evaluation, for a search
    study: str | None = None  # null: `name`
    data: DataConfig = field(default_factory=DataConfig)
    model: Any = MISSING
    network: Any = MISSING
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    posterior: PosteriorConfig = field(default_factory=PosteriorConfig)
    beside: dict[str, PosteriorConfig] = field(default_factory=dict)  # further posteriors, posterior@beside.NAME=...
    likelihood: LikelihoodConfig = field(default_factory=LikelihoodConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)
    metric: MetricConfig = field(default_factory=MetricConfig)
    propagator: Any = None  # of weight uncertainty to every pixel
    application: Any = None  # what is done with the uncertainty
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)


MODEL_SCHEMAS = {"described": ModelConfig}
NETWORK_SCHEMAS = {"unet": UNetConfig, "dit": DiTConfig, "mlp": MLPConfig}
PROPAGATOR_SCHEMAS = {
    "trajectory": TrajectoryConfig,
    "corrected": CorrectedConfig,
    "coherent": CoherentConfig,
    "paper": PaperConfig,
}
APPLICATION_SCHEMAS = {
    "filter": FilterConfig,
    "best_of_n": BestOfNConfig,
    "augment": AugmentConfig,
    "rectify": RectifyConfig,
    "guide": GuideConfig,
}


def folder_name(overrides: str, longest: int = 150) -> str:
    """The overrides of a sweep's job as the name of its folder: no slashes, and as short as file systems want it."""
    plain = overrides.replace("/", "_")
    if len(plain) <= longest:
        return plain
    return f"{plain[:longest]}-{hashlib.sha256(overrides.encode()).hexdigest()[:12]}"


def register() -> None:
    """Make the schemas known to Hydra: `schema` for the whole, GROUP/schema_NAME where a group has several."""
    # ours of a launcher bears the plugin's name, so that both with and without the plugin it can be composed
    warnings.filterwarnings("ignore", message="(?s).*validated against ConfigStore schema with the same name")
    OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    groups: dict[str, dict[str, type]] = {
        "model": MODEL_SCHEMAS,
        "network": NETWORK_SCHEMAS,
        "propagator": PROPAGATOR_SCHEMAS,
        "application": APPLICATION_SCHEMAS,
    }
    for group, schemas in groups.items():
        for name, schema in schemas.items():
            store.store(group=group, name=f"schema_{name}", node=schema)
