"""Runs that are only looked at: those of a sweep share what they have in common, and nothing is made or changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from genuq import models
from genuq.data import Dataset
from genuq.errors import GenuqError
from genuq.extractors import Extractor
from genuq.models import GenerativeModel
from genuq.stages.judge import Judge
from genuq.stages.run import Run


@dataclass
class Memory:
    """What was built before, or why it could not be built, by what it depends on."""

    kept: dict[str, Any] = field(default_factory=dict)

    def __call__(self, key: Any, build: Callable[[], Any]) -> Any:
        """What `build` gives, or raises, built once for each key (plain data)."""
        name = json.dumps(key, sort_keys=True, default=str)
        if name not in self.kept:
            try:
                self.kept[name] = build()
            except (GenuqError, OSError) as error:
                self.kept[name] = error
        if isinstance(self.kept[name], Exception):
            raise self.kept[name]
        return self.kept[name]


@dataclass
class PlannedRun(Run):
    """A run that shares data sets, weights and encoders with others.

    Attributes:
        memory: what it shares.
    """

    memory: Memory = field(default_factory=Memory)

    @cached_property
    def _whole(self) -> dict[str, Any]:
        return super().plain()

    def plain(self, *groups: str) -> dict[str, Any]:
        return {group: deepcopy(self._whole[group]) for group in groups or self._whole}

    def _dataset(self, split: str) -> Dataset:
        options = {key: value for key, value in self.plain("data")["data"].items() if key != "subset"}
        return self.memory(["data", split, options], lambda: super(PlannedRun, self)._dataset(split))

    def content_of(self, dataset: Dataset, keep: bool = False) -> str:
        key = ["content", self.plain("seed", "data"), dataset.split]
        return self.memory(key, lambda: super(PlannedRun, self).content_of(dataset, keep))

    @cached_property
    def blank(self) -> GenerativeModel:
        """The run's model before any training: sizes, shapes and times are those of the trained one."""
        description = self.description()
        return self.memory(["blank", description], lambda: models.build(description)).to(self.device).eval()

    @cached_property
    def architecture(self) -> GenerativeModel:
        return self.blank if self.trains else self.model

    @cached_property
    def model(self) -> GenerativeModel:
        key = ["model", self.checkpoint, self.description(), str(self.device)]
        return self.memory(key, lambda: super(PlannedRun, self).model)

    @cached_property
    def judge(self) -> Judge:
        settings = self.plain("metric", "data")
        where = self.judge_checkpoint if self.config.metric.extractor == "classifier" else None
        key = ["judge", settings["metric"]["extractor"], settings["metric"]["options"], settings["data"], where]
        return self.memory(key, lambda: super(PlannedRun, self).judge)

    def named_extractor(self, name: str, options: dict[str, Any]) -> Extractor:
        key = ["extractor", name, options, self.training_set.shape if name == "pixels" else None]
        return self.memory(key, lambda: super(PlannedRun, self).named_extractor(name, options))

    def network_like(self) -> dict[str, Any]:
        """What sets the time of an evaluation of the run's network: runs that agree in it take as long for one."""
        description = self.description()
        kept = {key: description[key] for key in ("shape", "network", "autoencoder")}
        return kept | {"device": self.hardware()}

    def hardware(self) -> str:
        return f"{self.processes} x {self.device}"

    @property
    def processes(self) -> int:
        """That the stages are shared by."""
        return self.config.trainer.devices * self.config.trainer.num_nodes
