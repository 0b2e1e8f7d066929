"""What looks at a run's samples, as its configuration has it: its likelihood, its judge, what it compares them with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genuq.data.registry import DATASETS
from genuq.errors import ConfigurationError
from genuq.extractors import EXTRACTORS, Extractor
from genuq.extractors.judge import Judge
from genuq.likelihoods import LIKELIHOODS, Likelihood, PointLikelihood
from genuq.metrics.reference_sets import open_reference
from genuq.models.checkpoints import reference_path
from genuq.pipeline.configured import content_at, data_inputs, prompts_of, test_set, training_set
from genuq.pipeline.inputs import own_options, part_inputs
from genuq.pipeline.judging import ExtractorInputs, JudgeInputs, LikelihoodInputs, PromptInputs, TruthInputs
from genuq.pipeline.run import Run
from genuq.pipeline.stage import upstream
from genuq.pretrained.clip import CLIP
from genuq.pretrained.hub import folder_of
from genuq.store.upstream import FileContent


def extractor_inputs(run: Run, name: str, options: Mapping[str, Any]) -> ExtractorInputs:
    """An extractor by name for samples of the data's shape, its checkpoint by content."""
    part = EXTRACTORS.get(name)
    own = {key: value for key, value in options.items() if key != "checkpoint"}
    path = options.get("checkpoint")
    checkpoint = None if path is None else FileContent(run.sha256(path), Path(path))
    return ExtractorInputs(part_inputs(part, own), tuple(training_set(run).shape), checkpoint, name, run.memory)


def named_extractor(run: Run, name: str) -> Extractor:
    """An extractor with its defaults."""
    return extractor_inputs(run, name, {}).open()


def likelihood_inputs(run: Run) -> LikelihoodInputs:
    """The run's likelihood, without the variance of its observations."""
    settings = run.plain("likelihood")["likelihood"]
    part, name = LIKELIHOODS.get(settings["name"]), settings.get("extractor")
    keys = [key for key in part.option_names if key != "observation_variance" and settings.get(key) is not None]
    embeds = part.needs_extractor and name is not None
    extractor = extractor_inputs(run, name, settings.get("options") or {}) if embeds else None
    inputs = part_inputs(part, {key: settings[key] for key in keys})
    return LikelihoodInputs(inputs, extractor, tuple(training_set(run).shape))


def build_likelihood(run: Run) -> Likelihood | PointLikelihood:
    """The run's likelihood."""
    return likelihood_inputs(run).build(run.config.likelihood.get("observation_variance"))


def judge_inputs(run: Run) -> JudgeInputs:
    """Who judges the run's samples: this run's own classifier if its stages train one, else the shipped one."""
    settings = run.plain("metric")["metric"]
    if settings["extractor"] == "points":
        return JudgeInputs(points=data_inputs(run, "test"), memory=run.memory)
    if settings["extractor"] != "classifier":
        extractor = extractor_inputs(run, settings["extractor"], settings["options"])
        return JudgeInputs(extractor=extractor, memory=run.memory)
    if "judge" in run.config.stages:
        return JudgeInputs(classifier=upstream(run, "judge"), memory=run.memory)
    path = reference_path(f"classifier_{run.config.data.name}", "Add the stage judge: stages=[judge,...].")
    return JudgeInputs(classifier=FileContent(run.sha256(path), path), memory=run.memory)


def prompt_inputs(run: Run) -> PromptInputs | None:
    """What says how well samples show their prompts; None: nothing was asked to.

    Raises:
        ConfigurationError: the model has no prompts, or there is no such folder.
    """
    name = run.config.metric.prompt_model
    if name is None:
        return None
    prompts, allowed = prompts_of(run), run.config.metric.download
    if not prompts:
        raise ConfigurationError(
            f"metric.prompt_model = '{name}' compares samples with their prompts, but model.name = "
            f"'{run.config.model.name}' has none: leave metric.prompt_model out."
        )
    folder = run.memory(["prompt model", name, allowed], lambda: folder_of(str(name), allowed, saved=CLIP))
    return PromptInputs(content_at(run, str(folder)), tuple(prompts), run.device, run.memory)


def reference_inputs(run: Run) -> FileContent | None:
    """The reference set of others that the metrics compare with, where one is named."""
    path = run.config.metric.reference
    return None if path is None else content_at(run, path)


def reference_count(run: Run) -> int:
    """How many real images the judge compares with."""
    path, most = run.config.metric.reference, run.config.metric.reference_images
    return min(most, len(test_set(run)) if path is None else open_reference(path).count)


def truth_inputs(run: Run) -> TruthInputs | None:
    """The oracle of the run's data, where it says which samples are bad; None: the judge does."""
    if run.config.metric.truth != "oracle":
        return None
    options = run.plain("data")["data"]
    part = part_inputs(DATASETS.get(options["name"]), own_options(options))
    return TruthInputs(part, tuple(run.config.metric.bad), data_inputs(run, "test"))


def open_judge(run: Run) -> Judge:
    """The run's judge."""
    return judge_inputs(run).open()
