"""One run: its configuration, its folder, and the parts that the stages share, each built when first asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from genuq import data, extractors, files, models, solvers
from genuq.data import Dataset
from genuq.errors import ArtefactError, ConfigurationError
from genuq.extractors import Extractor
from genuq.likelihoods import Likelihood, PixelLikelihood, SemanticLikelihood
from genuq.models import GenerativeModel, Sampler, find_head
from genuq.stages.artefacts import StageFolder
from genuq.stages.checkpoints import load_model, reference_path
from genuq.stages.contents import fingerprint_in
from genuq.stages.job import Job
from genuq.stages.judge import Judge, classifier_judge, extractor_judge, points_judge
from genuq.stages.spaces import PointLikelihood


@dataclass
class Run:
    """Configuration and folder of a run.

    Attributes:
        config: resolved and checked against the schemas.
        folder: of the run, with a link to the artefact of each stage.
        command: what the user typed, for the report.
        job: where the configuration comes from.
        artefacts: those of the stages, once they were asked for.
        verified: stages whose artefacts were read through and found whole.
        read: state (`files.state_of`) of the files and folders outside the store that the artefacts depend on.
    """

    config: DictConfig
    folder: Path
    command: str
    job: Job = field(default_factory=Job)
    artefacts: dict[str, StageFolder] = field(default_factory=dict)
    verified: set[str] = field(default_factory=set)
    read: dict[str, list[int | str]] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        """Where all artefacts lie; runs may share it."""
        return Path(self.config.store).expanduser().absolute()

    @property
    def study(self) -> str:
        """The study that the run belongs to: the configured one, or its sweep, or itself."""
        return self.config.study or (self.job.sweep.name if self.job.sweep else self.config.name)

    def sha256(self, path: str | Path) -> str:
        """Of a file that an artefact depends on; remembered.

        Raises:
            ConfigurationError: there is no such file.
        """
        path = Path(path).expanduser().absolute()
        if not path.is_file():
            raise ConfigurationError(f"{path} does not exist, but the configuration names it. Correct the path.")
        self.read[str(path)] = files.state_of(path)
        return _sha256(path, *self.read[str(path)])

    def sha256_of_folder(self, path: str | Path) -> str:
        """Of the names and bytes of all files of a folder that an artefact depends on; remembered."""
        path = Path(path).expanduser().absolute()
        self.read[str(path)] = files.state_of(path)
        return _sha256_of_folder(path, *self.read[str(path)])

    def contents(self, *splits: str) -> dict[str, str]:
        """The fingerprints of the data that an artefact depends on, by split: of content, wherever it lies."""
        found = {"train": lambda: self.training_content, "test": lambda: self.test_content}
        return {split: found[split]() for split in splits}

    @cached_property
    def training_content(self) -> str:
        return self.content_of(self.training_set)

    @cached_property
    def test_content(self) -> str:
        return self.content_of(self.test_set)

    def content_of(self, dataset: Dataset, keep: bool = True) -> str:
        """The fingerprint of one of the run's data sets.

        Args:
            dataset: the training or the test set.
            keep: whether the store remembers it by the state of the files.
        """
        if dataset.folder is not None:
            self.read[str(dataset.folder.absolute())] = files.state_of(dataset.folder)
        read_as = self.plain("seed", "data") | {"split": dataset.split}
        return fingerprint_in(self.store, dataset, read_as, keep)

    def autoencoder_content(self) -> str | None:
        """The digest of the folder of diffusers' that holds the model's autoencoder; None where no folder does."""
        autoencoder = self.config.model.autoencoder
        path = None if autoencoder is None else autoencoder.path
        return None if path is None or not Path(path).expanduser().is_dir() else self.sha256_of_folder(path)

    def path(self, stage: str) -> Path:
        """The artefact of a stage whose turn has come, or that an input of it depends on."""
        return self.artefacts[stage].path

    def link(self, stage: str) -> None:
        """Make FOLDER/STAGE a link to the stage's artefact.

        Raises:
            ArtefactError: a folder of that name is in the way.
        """
        link, target = self.folder / stage, self.path(stage)
        if link.is_dir() and not link.is_symlink():
            raise ArtefactError(
                f"{link} is a folder, where a link into the store belongs (earlier versions of genuq made such "
                "folders). Move it away and run the same command again."
            )
        relative = os.path.relpath(target.resolve(), link.parent.resolve())
        if link.is_symlink() and os.readlink(link) == relative:
            return
        new = link.with_name(f".{stage}.{os.getpid()}.link")
        new.unlink(missing_ok=True)
        new.symlink_to(relative)
        os.replace(new, link)

    def plain(self, *groups: str) -> dict[str, Any]:
        """The named parts of the configuration as plain data; all of it without names."""
        parts = {group: self.config[group] for group in groups or [str(key) for key in self.config]}
        return {
            group: OmegaConf.to_container(part, resolve=True) if OmegaConf.is_config(part) else part
            for group, part in parts.items()
        }

    @cached_property
    def device(self) -> torch.device:
        if self.config.device != "auto":
            return available(self.config.device)
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def _dataset(self, split: str) -> Dataset:
        options = {k: v for k, v in self.plain("data")["data"].items() if v is not None and k != "subset"}
        return data.load(options.pop("name"), split, **options)

    @cached_property
    def training_set(self) -> Dataset:
        whole, subset = self._dataset("train"), self.config.data.subset
        return whole if subset is None else data.subset(whole, subset, self.config.seed)

    @cached_property
    def test_set(self) -> Dataset:
        return self._dataset("test")

    @property
    def is_image(self) -> bool:
        return len(self.training_set.shape) == 3

    def description(self) -> dict[str, Any]:
        """The model as plain data, for `genuq.models.build`."""
        model, network = self.plain("model")["model"], self.plain("network")["network"]
        autoencoder = model["autoencoder"]
        return {
            "shape": list(self.training_set.shape),
            "num_classes": self.training_set.num_classes if model["class_conditional"] else 0,
            "prediction": model["prediction"],
            "process": model["process"],
            "network": network,
            "autoencoder": None if autoencoder is None else {k: v for k, v in autoencoder.items() if v is not None},
            "head": model["head"],
        }

    @property
    def trains(self) -> bool:
        return "train" in self.config.stages

    @property
    def checkpoint(self) -> Path:
        """The checkpoint that the later stages use."""
        chosen = self.config.model.checkpoint
        if self.trains:
            return self.path("train") / "model.safetensors"
        if chosen is None:  # this run's last training
            return self.folder / "train" / "model.safetensors"
        if chosen == "reference":
            return reference_path(f"{self.config.model.name}_{self.config.data.name}")
        return Path(chosen).expanduser()

    @cached_property
    def model(self) -> GenerativeModel:
        model = load_model(self.checkpoint, self.description())[0]
        model.head_name = find_head(model.network, self.config.model.head)
        model.check_weights()
        return model.to(self.device)

    @cached_property
    def architecture(self) -> GenerativeModel:
        """The model as far as it is known before the run: with its weights, or untrained where the run trains it."""
        return models.build(self.description()) if self.trains else self.model

    def posteriors(self) -> dict[str, Any]:
        """The settings of every posterior by the name of its draws: `draws` for the run's own, then those beside it."""
        groups = self.plain("posterior", "beside")
        return {"draws": groups["posterior"], **(groups["beside"] or {})}

    @cached_property
    def sampler(self) -> Sampler:
        settings = self.config.sampler
        options = {} if settings.eta is None else {"eta": settings.eta}
        return Sampler(
            solver=solvers.build(settings.name, **options),
            steps=settings.steps,
            spacing=settings.spacing,
            guidance_scale=settings.guidance_scale,
            seed=self.config.seed,
            classes=settings.classes,
            batch_size=settings.batch_size,
        )

    @cached_property
    def likelihood(self) -> Likelihood | PointLikelihood:
        settings = self.plain("likelihood")["likelihood"]
        variance = settings["observation_variance"]
        if not self.is_image:
            if settings["name"] != "pixel":
                raise ConfigurationError("likelihood=semantic needs images; for points use likelihood=pixel.")
            return PointLikelihood(self.training_set.shape[0], variance)
        if settings["name"] == "pixel":
            return PixelLikelihood(self.training_set.shape, variance)
        if settings["name"] != "semantic" or settings["extractor"] is None:
            raise ConfigurationError(
                f"likelihood.name = '{settings['name']}' with likelihood.extractor = '{settings['extractor']}'; "
                "choose pixel, or semantic with an extractor."
            )
        extractor = self.named_extractor(settings["extractor"], settings["options"])
        return SemanticLikelihood(extractor, variance, settings["normalise"])

    @cached_property
    def judge(self) -> Judge:
        settings = self.plain("metric")["metric"]
        if settings["extractor"] == "points":
            return points_judge(self.test_set)
        if settings["extractor"] == "classifier":
            return classifier_judge(self.judge_checkpoint)
        return extractor_judge(self.named_extractor(settings["extractor"], settings["options"]))

    def named_extractor(self, name: str, options: dict[str, Any]) -> Extractor:
        """An extractor by name; `pixels` takes its size from the data."""
        if name == "pixels":
            options = {"image_shape": self.training_set.shape, **options}
        return extractors.build(name, **options)

    @property
    def judge_checkpoint(self) -> Path:
        """The judging classifier: this run's own if its stages train one, else the shipped one."""
        if "judge" in self.config.stages:
            return self.path("judge") / "judge.safetensors"
        return reference_path(f"classifier_{self.config.data.name}", "Add the stage judge: stages=[judge,...].")


@cache
def _sha256(path: Path, *state: int | str) -> str:
    """Once for every state of a file."""
    return files.sha256(path)


@cache
def _sha256_of_folder(path: Path, *state: int | str) -> str:
    """Once for every state of a folder."""
    return files.sha256_of_folder(path)


def available(name: str) -> torch.device:
    """The device called `name`; ConfigurationError where this machine has none."""
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise ConfigurationError(f"device = '{name}' cannot be used: {reason}. Use device=auto, or cpu.") from error
