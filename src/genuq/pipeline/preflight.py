"""Everything that can be known to be wrong before the first long work starts."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable
from pathlib import Path

from genuq.analysis import EvaluationSettings, check_independence
from genuq.analysis.metrics import METRICS
from genuq.analysis.retention import descending_fractions, require_samples
from genuq.config.values import check_values
from genuq.data.folder import shortened
from genuq.errors import ConfigurationError, DataError, did_you_mean
from genuq.extractors import EXTRACTORS
from genuq.metrics.reference import read_statistics, require_dimension, require_extractor
from genuq.metrics.reference_sets import ReferenceImages, open_reference
from genuq.parallel.requirements import check_trainer, require_hardware
from genuq.pipeline.columns import check_columns, check_watchers, watched_inputs
from genuq.pipeline.configured import (
    architecture_of,
    build_sampler,
    description_of,
    engine_of,
    is_image,
    test_set,
    training_set,
    why_direct,
)
from genuq.pipeline.configured_judging import open_judge, prompt_inputs, reference_count
from genuq.pipeline.inputs import is_outlined
from genuq.pipeline.named_files import check_named_files
from genuq.pipeline.objective import check_objective
from genuq.pipeline.posteriors import check_posteriors, fit_settings, key_of, of_members
from genuq.pipeline.run import Run, hardware_of
from genuq.pipeline.shared_scores import check_shared_scores, path_inputs
from genuq.pipeline.sizes import check_size
from genuq.pipeline.stage import STAGES, asked
from genuq.pipeline.stages.apply import applied, check_application
from genuq.pipeline.stages.evaluate_inputs import evaluation_settings, scoring_space
from genuq.pipeline.stages.members import check_members
from genuq.pipeline.stages.pilot import check_pilot
from genuq.pipeline.stages.propagate import check_propagator
from genuq.pipeline.stages.witnesses import SCORING
from genuq.pipeline.tracker import check_logger
from genuq.posteriors import POSTERIORS, FitSettings
from genuq.posteriors.fitting.doubts import doubts_about
from genuq.posteriors.fitting.fitting import empty_posterior
from genuq.posteriors.fitting.reading import warn_of
from genuq.propagators import PROPAGATORS
from genuq.scores import SCORES
from genuq.solvers import SOLVERS


class DirectSamplingWarning(UserWarning):
    """A scheduler samples itself, since its steps are not affine in the predictions."""


JUDGES = ("classifier", "points")  # that are no extractors


def check(run: Run) -> None:
    """Build what the asked stages need and check it against each other, and read every image.

    Raises:
        GenuqError: whatever is wrong, with the key to change.
    """
    check_settings(run)
    require_hardware(hardware_of(run))
    check_upstream(run)
    check_data(run)


def check_settings(run: Run) -> None:
    """All that a plan needs too, which may be made on another machine: not whether the hardware is here, nor whether
    every image can be read, which takes a while where there are many.
    """
    check_values(run.config)
    check_names(run)
    check_logger(run)
    check_trainer(hardware_of(run, shards=True))
    check_named_files(run)
    check_extractors(run)
    check_size(run)
    stages = set(run.config.stages)
    if reads_test_set(run):
        check_splits(run)
    if stages & {"train", "fit", "sample"}:
        build_sampler(run).check(architecture_of(run))
        engine_of(run).of(architecture_of(run))
        check_stages(run)
        check_watchers(run, architecture_of(run))
    if "fit" in stages:
        check_fit(run)
    if stages & {"sample", "probe"}:
        check_columns(run)
        check_shared_scores(run, architecture_of(run))
        check_pilot(run)
    if stages & {"embed", "score", "evaluate"} or applied(run):
        check_evaluation(run)
    check_objective(run)
    if run.config.propagator is not None:
        check_propagator(run)
    if applied(run):
        check_application(run)


def check_stages(run: Run) -> None:
    """Say that samples come from a scheduler itself where its steps are not affine, or refuse it for what needs stages.

    Raises:
        ConfigurationError: steps that the sampler does not take, or scores of a path that nobody sees.
    """
    sampler, model = build_sampler(run), architecture_of(run)
    if not getattr(sampler.solver, "directly", False) or watched_inputs(run) or path_inputs(run):
        sampler.stages(model)
    elif (why := why_direct(run)) is not None:
        warnings.warn(why, DirectSamplingWarning, stacklevel=2)


def check_upstream(run: Run) -> None:
    """All that a stage reads is there, or is made by a stage before it: else the last stages would only say so after
    hours of the first ones.
    """
    coming: set[Path] = set()
    for name in asked(run):
        folder = STAGES[name].folder(run)
        if not folder.is_current():
            STAGES[name].require_upstream(run, coming)
        coming.add(folder.path)


def check_data(run: Run) -> None:
    """Every image that the stages need can be read: a broken test image would only be noticed after the training."""
    stages = set(run.config.stages)
    if stages & {"train", "judge", "fit"}:
        training_set(run).verify()
    if reads_test_set(run):
        test_set(run).verify()


def reads_test_set(run: Run) -> bool:
    """Whether the asked stages look at test images."""
    return bool(set(run.config.stages) & {"train", "judge", "embed", "evaluate"}) or applied(run)


def check_splits(run: Run) -> None:
    """Labels mean the same in both splits, and items are of one shape."""
    training, test = training_set(run), test_set(run)
    if list(training.class_names) != list(test.class_names) or tuple(training.shape) != tuple(test.shape):
        raise DataError(
            f"the test set of data.name = '{run.config.data.name}' has the classes {shortened(test.class_names)} and "
            f"items of {tuple(test.shape)}, its training set {shortened(training.class_names)} and "
            f"{tuple(training.shape)}: labels would mean other classes. Give both all class names, in one order."
        )


def check_fit(run: Run) -> None:
    """Raise ConfigurationError for posteriors that cannot be fitted; warn where the model is none for them."""
    warn_of(doubts_about(architecture_of(run)))
    for name, settings in run.posteriors().items():
        if of_members(settings):
            check_members(run, settings, key_of(name))
        elif settings.get("match") is None:
            chosen = fit_settings(run, name)
            chosen.check(training_set(run), key_of(name))
            check_layers_of(run, chosen)


def check_layers_of(run: Run, settings: FitSettings) -> None:
    """Raise ConfigurationError for layers that the network has not, or that a posterior cannot cover; of a model that
    is opened without its weights the run itself says so.
    """
    if POSTERIORS.get(settings.kind).scope == "head" or is_outlined(run.memory, description_of(run)):
        return
    model, images = architecture_of(run), [0, 1]
    tried = ["layers", description_of(run), settings.kind, settings.options, settings.time_bins]
    run.memory(tried, lambda: empty_posterior(model, training_set(run), images, settings)())


def check_extractors(run: Run) -> None:
    """Raise ConfigurationError for an extractor that does not exist, or options that it has not or cannot have."""
    for place in ("likelihood", "metric"):
        settings = run.plain(place)[place]
        name, options = settings.get("extractor"), settings.get("options") or {}
        if name in JUDGES and options:
            raise ConfigurationError(f"{place}.options = {options}, but '{name}' has none. Remove them.")
        if name is not None and name not in JUDGES:
            EXTRACTORS.get(name, f"{place}.extractor").check_options(options, f"{place}.options")


def check_names(run: Run) -> None:
    """Names that no schema can check: stages, posterior, functionals, controls, solver."""
    known: dict[str, tuple[Iterable[str], Collection[str]]] = {
        "stages": (run.config.stages, STAGES),
        "score.controls": (run.config.score.controls, SCORES.names(kind="control")),
    }
    for key, (names, candidates) in known.items():
        for name in names:
            if name not in candidates:
                raise ConfigurationError(f"{key}: '{name}' does not exist.{did_you_mean(name, candidates)}")
    SCORES.get(run.config.score.name)
    for name in run.config.score.also:
        SCORES.get(name, "score.also")
    for name in run.config.metric.curves:
        METRICS.get(name, "metric.curves")
    application = run.plain("application")["application"] or {}
    if (propagator := application.get("propagator")) is not None:
        PROPAGATORS.get(propagator, "application.propagator")
    for name in application.get("witnesses") or []:
        if name != SCORING:
            EXTRACTORS.get(name, "application.witnesses")
    SOLVERS.get(run.config.sampler.name)
    check_posteriors(run)


def check_truth(run: Run) -> None:
    """What says which samples are bad exists, and knows the faults that are asked for."""
    settings, oracle = run.config.metric, test_set(run).oracle
    if settings.truth == "judge":
        if settings.bad:
            raise ConfigurationError(
                f"metric.bad = {list(settings.bad)} names faults that only an oracle tells apart: set "
                "metric.truth=oracle, or leave metric.bad out."
            )
        return
    if oracle is None:
        raise ConfigurationError(
            f"metric.truth = 'oracle', but {test_set(run).name} was not drawn by rules: set metric.truth=judge, or "
            "choose data with an oracle, data=glyphs for instance."
        )
    oracle.require(settings.bad, "metric.bad")


def check_evaluation(run: Run) -> None:
    """The likelihood and the judge exist and differ; enough samples for k."""
    settings: EvaluationSettings = evaluation_settings(run)
    if (run.config.metric.extractor == "points") == is_image(run):
        raise ConfigurationError(
            f"metric.extractor = '{run.config.metric.extractor}' cannot judge {training_set(run).name}: "
            f"choose {'an extractor of images' if is_image(run) else 'metric=points'}."
        )
    check_truth(run)
    space = scoring_space(run)
    if not ("judge" in run.config.stages and run.config.metric.extractor == "classifier"):
        check_independence(space, open_judge(run).name, run.config.metric.allow_shared_extractor)
    if (prompts := prompt_inputs(run)) is not None:
        prompts.open()
    check_statistics(run)
    check_reference(run)
    require_samples(run.config.sampler.samples, settings.k, descending_fractions(settings.fractions)[-1])
    reference = reference_count(run)
    if reference <= settings.k:
        raise ConfigurationError(
            f"metric.k = {settings.k} neighbours need more than {reference} real test images. Lower metric.k, or raise "
            f"metric.reference_images ({test_set(run).name} has {len(test_set(run))})."
        )


def check_statistics(run: Run) -> None:
    """The reference of others that the FIDs compare with is whole, and of the judge's space as far as can be told."""
    path = run.config.metric.statistics
    if path is None:
        return
    if run.config.metric.extractor in ("classifier", "points"):
        raise ConfigurationError(
            f"metric.statistics = '{path}', but metric.extractor = '{run.config.metric.extractor}' is a space that "
            "nobody else has statistics of. Choose the extractor that they were made with, metric=inception for FIDs."
        )
    judge = open_judge(run)
    require_dimension(read_statistics(path), judge.dimension, judge.name)
    require_extractor(path, judge.name)


def check_reference(run: Run) -> None:
    """The reference set of others is whole, and of the data's shape or of the judge's space."""
    if (path := run.config.metric.reference) is None:
        return
    reference = open_reference(path)
    if isinstance(reference, ReferenceImages):
        reference.require_shape(tuple(test_set(run).shape))
    elif run.config.metric.extractor in JUDGES:
        raise ConfigurationError(
            f"metric.reference = '{path}', but metric.extractor = '{run.config.metric.extractor}' is a space that "
            "nobody else has features of. Choose the extractor that they were made with, metric=inception for FIDs."
        )
    else:
        judge = open_judge(run)
        reference.require_space(judge.dimension, judge.name)
