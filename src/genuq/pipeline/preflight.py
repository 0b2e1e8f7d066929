"""Everything that can be known to be wrong before the first long work starts."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from genuq.analysis import EvaluationSettings, check_independence
from genuq.analysis.retention import descending_fractions, require_samples
from genuq.errors import ConfigurationError, did_you_mean
from genuq.pipeline.columns import check_columns, check_watchers
from genuq.pipeline.configured import architecture_of, build_sampler, is_image, open_judge, test_set, training_set
from genuq.pipeline.objective import check_objective
from genuq.pipeline.posteriors import check_posteriors, fit_settings, key_of, of_members
from genuq.pipeline.run import Run, hardware_of
from genuq.pipeline.shared_scores import check_shared_scores
from genuq.pipeline.stage import STAGES
from genuq.pipeline.stages import evaluate
from genuq.pipeline.stages.apply import applied, check_application
from genuq.pipeline.stages.evaluate import scoring_space
from genuq.pipeline.stages.members import check_members
from genuq.pipeline.stages.propagate import check_propagator
from genuq.pipeline.tracker import check_logger
from genuq.scores import SCORES
from genuq.solvers import SOLVERS
from genuq.solvers.affine import SPACINGS
from genuq.training.trainer import check_trainer


def check(run: Run) -> None:
    """Build what the asked stages need and check it against each other, and read every image.

    Raises:
        GenuqError: whatever is wrong, with the key to change.
    """
    check_settings(run)
    check_data(run)


def check_settings(run: Run) -> None:
    """All but whether every image can be read, which takes a while where there are many."""
    check_names(run)
    check_numbers(run)
    check_logger(run)
    check_trainer(hardware_of(run, shards=True))
    stages = set(run.config.stages)
    if stages & {"train", "fit", "sample"}:
        build_sampler(run).check(architecture_of(run))
        check_watchers(run, architecture_of(run))
    if "fit" in stages:
        check_fit(run)
    if "sample" in stages:
        check_draws(run)
    if stages & {"sample", "probe"}:
        check_columns(run)
        check_shared_scores(run, architecture_of(run))
    if stages & {"embed", "score", "evaluate"} or applied(run):
        check_evaluation(run)
    check_objective(run)
    if run.config.propagator is not None:
        check_propagator(run)
    if applied(run):
        check_application(run)


def check_data(run: Run) -> None:
    """Every image that the stages need can be read: a broken test image would only be noticed after the training."""
    stages = set(run.config.stages)
    if stages & {"train", "judge", "fit"}:
        training_set(run).verify()
    if stages & {"train", "judge", "embed", "evaluate"} or applied(run):
        test_set(run).verify()


def check_fit(run: Run) -> None:
    for name, settings in run.posteriors().items():
        if of_members(settings):
            check_members(run, settings, key_of(name))
        elif settings.get("match") is None:
            fit_settings(run, name).check(training_set(run), key_of(name))


def check_names(run: Run) -> None:
    """Names that no schema can check: stages, posterior, functionals, controls, solver."""
    known: dict[str, tuple[Iterable[str], Collection[str]]] = {
        "stages": (run.config.stages, STAGES),
        "score.controls": (run.config.score.controls, SCORES.names(kind="control")),
        "sampler.spacing": ([run.config.sampler.spacing], SPACINGS),
    }
    for key, (names, candidates) in known.items():
        for name in names:
            if name not in candidates:
                raise ConfigurationError(f"{key}: '{name}' does not exist.{did_you_mean(name, candidates)}")
    SCORES.get(run.config.score.name)
    for name in run.config.score.also:
        SCORES.get(name, "score.also")
    SOLVERS.get(run.config.sampler.name)
    check_posteriors(run)


def check_numbers(run: Run) -> None:
    """Numbers that late stages use, which no other check looks at."""
    if run.config.likelihood.batch_size < 1:
        raise ConfigurationError(f"likelihood.batch_size = {run.config.likelihood.batch_size}; at least 1 is needed.")
    for key in ("jitter_size", "lmi_size", "noise_standard_deviation"):
        if not 0 < run.config.score[key] < float("inf"):
            raise ConfigurationError(f"score.{key} = {run.config.score[key]}; it must be finite and above 0.")


def check_draws(run: Run) -> None:
    for key, value, least in (
        *((f"{key_of(name)}.draws", settings["draws"], 2) for name, settings in run.posteriors().items()),
        ("sampler.samples", run.config.sampler.samples, 1),
        ("sampler.batch_size", run.config.sampler.batch_size, 1),
    ):
        if value < least:
            raise ConfigurationError(f"{key} = {value}; at least {least} needed.")
    if run.config.sampler.steps < 1:
        raise ConfigurationError(f"sampler.steps = {run.config.sampler.steps}; at least 1 is needed.")


def check_evaluation(run: Run) -> None:
    """The likelihood and the judge exist and differ; enough samples for k."""
    settings: EvaluationSettings = evaluate.evaluation_settings(run)
    if (run.config.metric.extractor == "points") == is_image(run):
        raise ConfigurationError(
            f"metric.extractor = '{run.config.metric.extractor}' cannot judge {training_set(run).name}: "
            f"choose {'an extractor of images' if is_image(run) else 'metric=points'}."
        )
    space = scoring_space(run)
    if not ("judge" in run.config.stages and run.config.metric.extractor == "classifier"):
        check_independence(space, open_judge(run).name, run.config.metric.allow_shared_extractor)
    require_samples(run.config.sampler.samples, settings.k, descending_fractions(settings.fractions)[-1])
    reference = min(run.config.metric.reference_images, len(test_set(run)))
    if reference <= settings.k:
        raise ConfigurationError(
            f"metric.k = {settings.k} neighbours need more than {reference} real test images. Lower metric.k, or raise "
            f"metric.reference_images ({test_set(run).name} has {len(test_set(run))})."
        )
