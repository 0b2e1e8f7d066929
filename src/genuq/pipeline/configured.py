"""The parts of a run as its configuration has them: records that stages declare, and what is opened from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genuq import files
from genuq.data import Dataset
from genuq.extractors import Extractor
from genuq.extractors.judge import Judge
from genuq.likelihoods import Likelihood
from genuq.likelihoods.points import PointLikelihood
from genuq.models import GenerativeModel, Sampler
from genuq.models.checkpoints import reference_path
from genuq.pipeline.parts import (
    DataInputs,
    ExtractorInputs,
    JudgeInputs,
    LikelihoodInputs,
    ModelInputs,
    PartInputs,
    SamplerInputs,
    load_split,
    untrained,
)
from genuq.pipeline.run import Run
from genuq.pipeline.stage import upstream
from genuq.store.artefact import MANIFEST
from genuq.store.upstream import FileContent, Upstream


def data_inputs(run: Run, *splits: str) -> DataInputs:
    """The run's data set, of which these splits may be read."""
    options, subset = run.plain("data")["data"], run.config.data.subset
    contents = {split: content_of(run, split) for split in splits}
    return DataInputs(contents, options, subset, run.config.seed, run.memory)


def content_of(run: Run, split: str) -> str:
    """The fingerprint of one split."""
    return (training_set(run) if split == "train" else test_set(run)).fingerprint


def training_set(run: Run) -> Dataset:
    """The training set, or the configured subset of it."""
    return load_split(run.memory, run.plain("data")["data"], "train", run.config.data.subset, run.config.seed)


def test_set(run: Run) -> Dataset:
    """The test set."""
    return load_split(run.memory, run.plain("data")["data"], "test")


def is_image(run: Run) -> bool:
    """Whether the run's samples are images, not points."""
    return len(training_set(run).shape) == 3


def description_of(run: Run) -> dict[str, Any]:
    """The model as plain data, for `genuq.models.build`."""
    model, network = run.plain("model")["model"], run.plain("network")["network"]
    autoencoder, data = model["autoencoder"], training_set(run)
    return {
        "shape": list(data.shape),
        "num_classes": data.num_classes if model["class_conditional"] else 0,
        "prediction": model["prediction"],
        "process": model["process"],
        "network": network,
        "autoencoder": None if autoencoder is None else {k: v for k, v in autoencoder.items() if v is not None},
        "head": model["head"],
    }


def model_inputs(run: Run) -> ModelInputs:
    """The model that the stages after the training use."""
    description = description_of(run)
    return ModelInputs(weights_of(run), run.config.model.head, None, description, run.device, run.memory)


def weights_of(run: Run) -> Upstream | FileContent:
    """This run's own training, or the file that the configuration names."""
    if run.trains:
        return upstream(run, "train")
    path = checkpoint_path(run)
    if path.parent == run.folder / "train":  # trained earlier, perhaps under other settings
        return FileContent(files.read_json(path.parent / MANIFEST)["fingerprint"], path)
    return FileContent(run.sha256(path), path)


def checkpoint_path(run: Run) -> Path:
    """The file of the weights, where this run's stages do not make them."""
    chosen = run.config.model.checkpoint
    if chosen is None:  # this run's last training
        return run.folder / "train" / "model.safetensors"
    if chosen == "reference":
        return reference_path(f"{run.config.model.name}_{run.config.data.name}")
    return Path(chosen).expanduser()


def open_model(run: Run) -> GenerativeModel:
    """The trained model on its device."""
    return model_inputs(run).open()


def untrained_model(run: Run) -> GenerativeModel:
    """The run's model before any training: sizes, shapes and times are those of the trained one."""
    return untrained(run.memory, description_of(run), run.device)


def architecture_of(run: Run) -> GenerativeModel:
    """The model as far as it is known before the run: with its weights, or untrained where the run trains it."""
    return untrained_model(run) if run.trains else open_model(run)


def sampler_inputs(run: Run) -> SamplerInputs:
    """How the run draws its samples."""
    settings = run.config.sampler
    solver = PartInputs(settings.name, {} if settings.eta is None else {"eta": settings.eta})
    return SamplerInputs(
        solver=solver,
        steps=settings.steps,
        spacing=settings.spacing,
        guidance_scale=settings.guidance_scale,
        classes=None if settings.classes is None else tuple(settings.classes),
        seed=run.config.seed,
        samples=settings.samples,
        batch_size=settings.batch_size,
    )


def build_sampler(run: Run) -> Sampler:
    """The run's sampler."""
    return sampler_inputs(run).build()


def extractor_inputs(run: Run, name: str, options: Mapping[str, Any]) -> ExtractorInputs:
    """An extractor by name, its checkpoint by content; `pixels` takes its size from the data."""
    own = {key: value for key, value in options.items() if key != "checkpoint"}
    if name == "pixels":
        own = {"image_shape": tuple(training_set(run).shape), **own}
    path = options.get("checkpoint")
    checkpoint = None if path is None else FileContent(run.sha256(path), Path(path))
    return ExtractorInputs(name, own, checkpoint, run.memory)


def named_extractor(run: Run, name: str) -> Extractor:
    """An extractor with its defaults."""
    return extractor_inputs(run, name, {}).open()


def likelihood_inputs(run: Run) -> LikelihoodInputs:
    """The run's likelihood, without the variance of its observations."""
    settings, shape = run.plain("likelihood")["likelihood"], tuple(training_set(run).shape)
    if settings["name"] == "pixel":
        return LikelihoodInputs("pixel", None, False, shape)
    name = settings["extractor"]
    extractor = None if name is None else extractor_inputs(run, name, settings["options"])
    return LikelihoodInputs(settings["name"], extractor, settings["normalise"], shape)


def build_likelihood(run: Run) -> Likelihood | PointLikelihood:
    """The run's likelihood."""
    return likelihood_inputs(run).build(run.config.likelihood.observation_variance)


def judge_inputs(run: Run) -> JudgeInputs:
    """Who judges the run's samples: this run's own classifier if its stages train one, else the shipped one."""
    settings = run.plain("metric")["metric"]
    if settings["extractor"] == "points":
        return JudgeInputs("points", points=data_inputs(run, "test"), memory=run.memory)
    if settings["extractor"] != "classifier":
        extractor = extractor_inputs(run, settings["extractor"], settings["options"])
        return JudgeInputs("extractor", extractor=extractor, memory=run.memory)
    if "judge" in run.config.stages:
        return JudgeInputs("classifier", classifier=upstream(run, "judge"), memory=run.memory)
    path = reference_path(f"classifier_{run.config.data.name}", "Add the stage judge: stages=[judge,...].")
    return JudgeInputs("classifier", classifier=FileContent(run.sha256(path), path), memory=run.memory)


def open_judge(run: Run) -> Judge:
    """The run's judge."""
    return judge_inputs(run).open()
