"""Every key of the configuration changes the identity of the stages that read it and of those downstream, and no other.

The tables are written by hand from what each stage does, not from what it declares.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from genuq.config import neutral
from genuq.pipeline.execute import opened
from support.small_runs import IMAGES, composed

# Whose artefacts each artefact is made from.
UPSTREAM = {
    "posterior.draws": ("train",),
    "posterior.other": ("train",),
    "fit": ("posterior.draws", "posterior.other"),
    "sample": ("train", "fit"),
    "probe": ("train", "fit", "sample"),
    "propagate": ("train", "fit"),
    "embed": ("sample", "judge"),
    "score": ("embed", "propagate", "probe"),
    "evaluate": ("score",),
    "apply": ("score",),
    "report": ("evaluate", "apply"),
}
OWN, OTHER = "posterior.draws", "posterior.other"
ALL = ("train", "judge", *UPSTREAM)
TRAININGS = ("train", "judge")

# Another valid value of each key, and the stages that read the key themselves.
READ: dict[str, tuple[Any, tuple[str, ...]]] = {
    "name": ("another", ("report",)),  # the page's title
    "seed": (4, ALL),
    "device": ("auto", ()),
    "objective": ("entropy/auroc", ()),
    "study": ("another", ()),
    "worker": (3, ()),
    "store": ("another", ()),
    "data.image_size": (15, ALL),
    "data.channels": (3, ALL),
    "data.subset": (20, ("train", "judge", OWN, OTHER)),
    "data.starve": ({"top": 0.5}, ("train", OWN, OTHER)),
    "data.resize": ("adm", ALL),
    "data.released": ("diff_uq", ("train", "judge", OWN, OTHER, "evaluate")),
    "data.released_every": (20, ()),  # nothing is read so
    "data.permute": (False, ()),  # no class is left out
    "model.name": ("another", ()),
    "model.process.name": ("variance_preserving", ("train",)),
    "model.process.schedule": ("cosine", ("train",)),
    "model.process.train_timesteps": (500, ("train",)),
    "model.prediction": ("epsilon", ("train",)),
    "model.class_conditional": (False, ("train", "score")),  # the class prior is one of the columns
    "model.head": ("out", (OWN, OTHER)),
    "network.name": ("dit", ("train",)),
    "network.channels": ([8, 24], ("train",)),
    "network.blocks": (2, ("train",)),
    "network.stem": (2, ("train",)),
    "network.dropout": (0.1, ("train",)),
    "sampler.name": ("heun", ("sample", "propagate")),
    "sampler.steps": (3, ("sample", "propagate")),
    "sampler.spacing": ("uniform_timestep", ("sample", "propagate")),
    "sampler.guidance_scale": (2.0, ("sample", "propagate")),
    "sampler.clip_x0": (True, ("sample", "propagate")),
    "sampler.precision": ("bfloat16", ("sample", "propagate")),
    "sampler.compile": (True, ("sample", "propagate")),
    **{f"sampler.{key}": (3.0, ("sample", "propagate")) for key in ("rho", "sigma_min", "sigma_max")},
    "sampler.keep_path": (True, ("sample",)),
    "sampler.samples": (32, ("sample", "propagate")),
    "sampler.classes": ([0], ("sample", "propagate")),
    "sampler.batch_size": (12, ("sample", "propagate")),  # that of the shards
    "likelihood.name": ("semantic", ("embed",)),
    "likelihood.observation_variance": (0.1, ("score",)),
    "likelihood.include_unperturbed": (False, ("score",)),
    "likelihood.batch_size": (7, ()),
    "score.name": ("trace", ("score",)),
    "score.also": (["cosine", "path_disagreement", "renoised_disagreement", "lid"], ("score",)),
    "score.controls": (["random", "direct_noise", "jitter"], ("sample", "score")),
    "score.jitter_size": (0.03, ("sample",)),
    "score.noise_standard_deviation": (0.06, ("embed",)),
    "score.window": ([0.1, 0.9], ()),
    "score.renoisings": (6, ()),
    "score.probes": (2, ()),
    "score.likelihood_steps": (10, ()),
    "score.lmi_size": (0.03, ()),
    "score.members": (1, ("sample", "probe")),
    "score.path_points": ([0.5], ("sample",)),
    "score.gap_points": ([0.5], ()),
    "score.weak_points": ([0.5], ()),
    "score.weak_checkpoint": ("FILE", ()),
    "score.probe_noisings": (2, ("probe",)),
    "score.renoised_times": ([0.4], ("probe",)),
    "score.lid_times": ([0.2], ("probe",)),
    "score.self_confidence_times": ([0.4], ()),
    "score.margin_times": ([0.4], ()),
    "score.score_norm_times": ([0.2], ()),
    "score.null_gap_times": ([0.4], ()),
    "score.nested_pairs": (3, ()),
    "score.maps": (True, ("sample", "probe")),
    "score.frontier": (True, ("evaluate",)),  # the run's score is none of the path
    "score.tolerance": (0.2, ()),  # of a pilot
    "score.pilot": (32, ()),
    "metric.extractor": ("efficientnet", ("embed",)),
    "metric.k": (4, ("score", "evaluate", "apply")),
    "metric.reference_images": (30, ("embed",)),
    "metric.statistics": ("FILE", ("evaluate",)),
    "metric.reference": ("FILE", ("embed", "evaluate")),
    "metric.fractions": ([1.0, 0.5], ("evaluate",)),
    "metric.bins": (5, ("evaluate",)),
    "metric.bootstrap": (30, ("evaluate", "apply")),
    "metric.half_samples": (5, ("evaluate",)),
    "metric.random_repeats": (4, ("evaluate",)),
    "metric.curves": (["fid"], ("evaluate",)),
    "metric.per_class": (False, ("evaluate",)),
    "metric.allow_shared_extractor": (True, ("evaluate",)),
    "metric.truth": ("oracle", ("evaluate", "apply")),
    "metric.bad": (["broken"], ()),  # of an oracle
    "propagator.reduce": ("mean", ("score",)),
    "propagator.share": (0.1, ()),
    "propagator.mask": ("FILE", ("score",)),
    "propagator.map_method": ("linear", ()),
    "propagator.map_draws": (8, ()),
    "propagator.data_variance": (0.2, ("propagate",)),
    "application.failed": (0.5, ("apply",)),
    "application.failed_by": ("score", ("apply",)),
    "application.cut": (0.7, ("apply",)),
    "application.region": (0.4, ("apply",)),
    "application.dilate": (2, ("apply",)),
    "application.candidates": (4, ("apply",)),
    "application.spread": (2000.0, ("apply",)),
    "application.noise": ("added", ("apply",)),
    "application.hold": (True, ("apply",)),
    "application.rule": ("both", ("apply",)),
    "application.margin": (0.2, ()),
    "application.witnesses": (["pixels"], ("apply",)),
    "application.witness_images": (32, ("apply",)),
    "application.rise": (1.0, ("apply",)),
    "application.sure": (0.9, ("apply",)),
    "application.propagator": ("corrected", ("apply",)),
    "trainer.steps": (4, ("train",)),
    "trainer.early_step": (1, ("train",)),
    "trainer.batch_size": (8, TRAININGS),
    "trainer.learning_rate": (0.002, TRAININGS),
    "trainer.warmup_steps": (1, TRAININGS),
    "trainer.weight_decay": (0.1, TRAININGS),
    "trainer.ema_decay": (0.9, ("train",)),
    "trainer.class_dropout": (0.2, ("train",)),
    "trainer.gradient_clip": (0.5, TRAININGS),
    "trainer.checkpoint_every": (7, ()),
    "trainer.start_from": ("FILE", ("train",)),
    "trainer.autoencoder_steps": (4, ()),  # the model has none
    "trainer.judge_steps": (4, ("judge",)),
    "trainer.accelerator": ("gpu", ()),
    "trainer.devices": (2, ()),
    "trainer.num_nodes": (2, ()),
    "trainer.strategy": ("ddp", ()),
    "trainer.precision": ("bf16-mixed", (*TRAININGS, OWN, OTHER)),
    "logger.name": ("none", ()),
}
# The same of one posterior, an exact_laplace; `posterior` stands for its own artefact.
READ_BY_POSTERIOR: dict[str, tuple[Any, tuple[str, ...]]] = {
    "name": ("subnetwork_laplace", ("posterior",)),
    "draws": (3, ("sample",)),
    "images": (32, ("posterior",)),
    "held_out": (8, ("posterior",)),
    "repeats": (2, ("posterior",)),
    "batch_size": (10, ()),
    "time_bins": (2, ("posterior",)),
    "criterion": ("predictive", ("posterior",)),
    "n_effective": (10.0, ("posterior",)),
    "observation_noise": (0.1, ("posterior",)),
    "prior_precision": (2.0, ("posterior",)),
    "temperature": (2.0, ("posterior",)),
    "relative_perturbation": (0.1, ("posterior",)),
}
# Keys that are not changed here, and why.
UNTRIED = {
    "parts": "what is at class paths counts by its code where it is used; see test_plugged",
    "stages": "which artefacts are asked for; see the runs with and without training",
    "data.name": "another data set has other options",
    "data.root": "a folder counts by its content; see test_contents_count",
    "model.checkpoint": "unread where the run trains; see below",
    "model.autoencoder": "see test_contents_count",
    "metric.options": "of an extractor; see test_contents_count",
    "metric.prompt_model": "of a model with prompts; see test_text_to_image",
    "metric.download": "whether the same may be fetched",
    "score.budget": "with it there is a pilot; see test_pilot",
    "score.entropy_faults": "of score=entropy_as_released alone",
    "scale.name": "names the study and marks what is shown; see test_scales",
    "scale.lower": "changes other keys before anything is read; see test_scales",
    "scale.rules": "changes other keys before anything is read; see test_scales",
    "score.stop": "with it there is a pilot; see test_pilot",
    "propagator.name": "another option has other keys",
    "application.name": "another option has other keys",
}
RUN = [
    *IMAGES,
    "name=identities",  # by default made of other keys
    "+posterior@beside.other=exact_laplace",
    "propagator=trajectory",
    "application=rectify",
    "score.also=[trace,path_disagreement,renoised_disagreement,lid]",
]
PARTS = "fit,sample,probe,propagate,embed,score,evaluate,apply,report"


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def reads() -> dict[str, tuple[Any, tuple[str, ...]]]:
    """By key, another value and all stages whose own inputs cover it."""
    found = dict(READ)
    for prefix, artefact in (("posterior", OWN), ("beside.other", OTHER)):
        for key, (value, stages) in READ_BY_POSTERIOR.items():
            found[f"{prefix}.{key}"] = value, tuple(artefact if stage == "posterior" else stage for stage in stages)
    return found


def with_downstream(stages: set[str], present: set[str]) -> set[str]:
    """The stages of a run that are among these, or are made from what is."""
    found = stages & present
    for stage, inputs in UPSTREAM.items():
        if stage in present and found & set(inputs):
            found.add(stage)
    return found


def fingerprints(config: DictConfig, folder: Path, present: set[str]) -> dict[str, str]:
    run = opened(config, folder)
    return {name: run.artefacts[name].fingerprint for name in present}


def wrongly_covered(config: DictConfig, folder: Path, present: set[str], file: Path) -> list[str]:
    """A line for each key whose change changes other fingerprints than the tables say."""
    before, wrong = fingerprints(config, folder, present), []

    def changed(*keys: str) -> set[str]:
        other = copy.deepcopy(config)
        for key in keys:
            value = reads()[key][0]
            OmegaConf.update(other, key, str(file) if value == "FILE" else value, merge=False)
        after = fingerprints(other, folder, present)
        return {name for name in present if before[name] != after[name]}

    unread = [key for key, (_, stages) in reads().items() if not stages]
    together = not changed(*unread)  # or they are tried one by one, to name the one
    for key, (_, stages) in reads().items():
        found = set() if together and key in unread else changed(key)
        expected = with_downstream(set(stages), present)
        if found != expected:
            wrong.append(f"{key}: too many {sorted(found - expected)}, too few {sorted(expected - found)}")
    return wrong


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # a store that is called `another` lies here
    path = tmp_path / "file.safetensors"
    path.write_bytes(b"content")
    return path


def test_the_tables_have_every_key(image_root: Path) -> None:
    config: Any = OmegaConf.to_container(composed(*RUN, f"data.root={image_root}"), resolve=True)
    assert set(leaves(config)) == reads().keys() | UNTRIED.keys()


def test_a_key_changes_what_reads_it_where_all_is_made_by_the_run(image_root: Path, file: Path, tmp_path: Path) -> None:
    config = composed(*RUN, f"data.root={image_root}", f"store={tmp_path}/store", f"stages=[train,judge,{PARTS}]")
    assert wrongly_covered(config, tmp_path, set(ALL), file) == []


def test_a_key_changes_what_reads_it_where_the_weights_come_from_a_file(
    image_root: Path, file: Path, tmp_path: Path
) -> None:
    """Then no setting of a training is read, and no description of the model: the file must agree with it."""
    given = [f"data.root={image_root}", f"store={tmp_path}/store", f"model.checkpoint={file}"]
    config = composed(*RUN, *given, "metric=inception", f"stages=[{PARTS}]", "metric.reference_images=40")
    present = set(ALL) - {"train", "judge"}
    assert wrongly_covered(config, tmp_path, present, file) == []
    before = fingerprints(config, tmp_path, present)
    file.write_bytes(b"another")
    assert {name for name, one in fingerprints(config, tmp_path, present).items() if one != before[name]} == present


def test_neutral_keys_are_read_by_no_stage_but_the_report() -> None:
    covered = {key: set(stages) - set(neutral.STAGES) for key, (_, stages) in reads().items()}
    assert {key for key in covered if neutral.is_neutral(key)} >= set(neutral.KEYS)
    assert [key for key in covered if neutral.is_neutral(key) and covered[key]] == []
