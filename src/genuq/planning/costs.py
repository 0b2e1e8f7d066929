"""What each stage of a run will do: network evaluations, the pieces of work that take its time, bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from genuq import posteriors
from genuq.analysis.bins import most_bins
from genuq.analysis.retention import descending_fractions
from genuq.applications.finished_run import EXAMPLES
from genuq.models import VAEAutoencoder
from genuq.pipeline.columns import regenerated, score_columns
from genuq.pipeline.configured import (
    is_image,
    is_latent,
    reference_name,
    sampler_inputs,
    test_set,
    training_set,
    untrained_model,
)
from genuq.pipeline.configured_judging import build_likelihood, reference_count
from genuq.pipeline.counting import shared_count, watched_counts
from genuq.pipeline.posteriors import fit_settings, of_members, size_from_exact, size_source
from genuq.pipeline.stages.members import member_settings
from genuq.pipeline.stages.probe import ALL
from genuq.pipeline.stages.witnesses import asks_witnesses
from genuq.planning import footprint
from genuq.planning.counting import application_count, propagated_count
from genuq.planning.pilots import full_scores, planned_scores
from genuq.planning.planned import PlannedRun
from genuq.planning.texts import captions_encoded, prompts_encoded
from genuq.planning.work import Evaluations, Piece, Sum, Work, rows_of
from genuq.posteriors import CurvaturePosterior, ExactLastLayerLaplace, FitSettings
from genuq.posteriors.fitting.doubts import READ, READ_AT_ONCE
from genuq.posteriors.fitting.held_out import DRAWN_FACTORS, FACTORS
from genuq.scores import SCORES
from genuq.scores.baselines.watching import PATH

RESIDUAL_IMAGES = 1024  # of `members.residual_variance`
TEST_IMAGES = 2048  # of `train.test_loss`
BOOTSTRAP = 8e-7  # seconds of a replicate of a sample's correlations, by a rule
PROBED = 2  # rows of the forward passes that `fitting.empty_posterior` tries


def work_of(run: PlannedRun, artefact: str) -> Work:
    """What making an artefact of the run takes: a stage, or `posterior.NAME`."""
    stage, _, name = artefact.partition(".")
    return of_posterior(run, name) if name else WORKS[stage](run)


# Training


def of_train(run: PlannedRun) -> Work:
    trainer, model = run.config.trainer, untrained_model(run)
    batch = min(trainer.batch_size, len(training_set(run)))
    every, rows = trainer.checkpoint_every, trainer.steps * batch
    tested = min(TEST_IMAGES, len(test_set(run)))
    pieces = [Piece("step", trainer.steps, batch), Piece("forward", tested, 256)]
    passing = footprint.of_training([model, model.network], model.network, trainer.steps, every)
    if isinstance(model.autoencoder, VAEAutoencoder) and trainer.start_from is None:
        pieces.append(Piece("autoencoder step", trainer.autoencoder_steps, batch))
        vae = model.autoencoder
        passing += footprint.of_training([vae], vae, trainer.autoencoder_steps, every)
    evaluations = {"training": (float(rows), float(rows)), "test loss": (float(tested), 0.0)}
    like = run.network_like(sampled=False) | {"batch": batch, "precision": trainer.precision}
    like |= {"accelerator": trainer.accelerator}
    steps = trainer.steps + sum(piece.amount for piece in pieces if piece.kind == "autoencoder step")
    checkpoints = 1 if trainer.early_step is None else 2
    size = checkpoints * footprint.of_weights(model, 2200) + _manifest(run, "train", checkpoints, 1200)
    return Work(evaluations, pieces, like, steps, size, passing)


def of_judge(run: PlannedRun) -> Work:
    trainer, network = run.config.trainer, footprint.classifier(run)
    size = footprint.of_weights(network, 200) + _manifest(run, "judge", 1)
    passing = footprint.of_training([network], network, trainer.judge_steps, trainer.checkpoint_every)
    batch = min(trainer.batch_size, len(training_set(run)))
    like = {"shape": list(training_set(run).shape), "batch": batch, "device": run.hardware()}
    pieces = [Piece("judge step", trainer.judge_steps, batch), Piece("judge test", len(test_set(run)), 500)]
    return Work({}, pieces, like, trainer.judge_steps, size, passing)


# Fitting


def of_fit(run: PlannedRun) -> Work:
    """Only gathers: the files are the posteriors' under a second name."""
    notes = sum(1200 + _curves(entry) for entry in run.posteriors().values())
    return Work({}, [], {}, 1.0, _manifest(run, "fit", 2 * len(run.posteriors()), notes))


def _curves(entry: Mapping[str, Any]) -> int:
    """Bytes of the curves by which the scale was chosen."""
    kind = posteriors.POSTERIORS[entry["name"]]
    curvature = issubclass(kind.resolve(), CurvaturePosterior) and kind.name != "isotropic"
    curved = curvature and entry.get("prior_precision") is None
    factors = len(FACTORS if kind.scope == "head" else DRAWN_FACTORS) * (entry.get("criterion") == "predictive")
    return footprint.EVIDENCE * curved + 2 * footprint.NUMBER * factors


def of_posterior(run: PlannedRun, name: str) -> Work:
    entry = run.posteriors()[name]
    size, passing = footprint.of_posterior(run, name)
    notes = 1200 + _curves(entry)  # with how the network is read
    size += footprint.of_manifest(run.artefacts[f"posterior.{name}"].identity, 1 + (entry.get("members") or 0), notes)
    kind, like = entry["name"], run.network_like(sampled=False)
    like |= {"posterior": kind, "layers": entry.get("layers")}
    if size_source(entry) is not None:
        return Work({}, [], like, 1.0, size)
    if of_members(entry):
        return _of_members(run, entry, like, size, passing)
    settings = fit_settings(run, name)
    found = fit_evaluations(settings, kind, size_from_exact(entry))
    like |= {"batch": settings.batch_size, "criterion": settings.scale.criterion, "draws": settings.fisher_draws}
    amount = rows_of(found)
    pieces = [Piece("fit", 1.0, settings.batch_size, name)]
    pieces += _of_kind("texts", captions_encoded(run, sum(forward for forward, _ in found.values())))
    return Work(found, pieces, like, amount, size, passing)


def fit_evaluations(settings: FitSettings, kind: str, by_exact: bool = False) -> Evaluations:
    """Rows of the passes of a fit.

    Over several layers numbers are sent back from the prediction: for every draw of the Fisher, and twice for a
    held-out image. Over the head alone they pass a rearrangement, and nothing of the network.
    """
    known, total = posteriors.POSTERIORS[ExactLastLayerLaplace.kind if by_exact else kind], Sum()
    layers = known.scope == "network" and known.source == "images"
    finds_dropout = kind == "mc_dropout" and not settings.options
    tried = 1 + (known.scope == "head") + finds_dropout + 3 * layers
    total.add("probe", tried * min(PROBED, settings.fitting_images))
    if issubclass(known.resolve(), CurvaturePosterior):
        rows = settings.images * settings.repeats
        total.add("curvature", rows, rows * settings.fisher_draws * layers)
    held_out = settings.held_out * settings.repeats
    total.add("held-out", held_out, 2 * held_out * layers)
    if settings.scale.criterion == "predictive":
        drawn = 0 if known.scope == "head" else settings.predictive_draws * len(DRAWN_FACTORS)
        total.add("predictive", held_out * (1 + drawn))
    return total.found


def _of_members(run: PlannedRun, entry: Mapping[str, Any], like: dict[str, Any], size: int, passing: int) -> Work:
    settings, total = member_settings(run, entry), Sum()
    batch = min(settings.batch_size, len(training_set(run)))
    trainings = 0 if settings.given(reference_name(run)) else settings.trainings
    gradients = 1 if settings.online_newton is None else settings.online_newton.mc_samples
    rows = float(trainings * settings.steps * batch * gradients)
    if rows:
        total.add("training", rows, rows)
    total.add("reading", min(READ, len(training_set(run))))  # other readings of a doubtful network come on top
    if settings.observation_noise is None:
        total.add("residual", min(RESIDUAL_IMAGES, len(training_set(run))))
    like |= {"batch": batch, "precision": str(settings.hardware.precision), "trained": bool(rows)}
    pieces = [
        Piece("step", trainings * settings.steps * gradients, batch),
        Piece("forward", total.found.get("residual", (0, 0))[0], 256),
        Piece("forward", total.found["reading"][0], READ_AT_ONCE),
    ]
    return Work(total.found, pieces, like, trainings * settings.steps or 1, size, passing)


# Sampling


def of_pilot(run: PlannedRun) -> Work:
    """A few samples, with the run's score at its full setting; the cheaper ones take nothing that it has not made."""
    source, count, total = SCORES.get(run.config.score.name).source, run.config.score.pilot, Sum()
    shared, seen = shared_count(run, source, full_scores(run))
    total.add("sampling", *watched_counts(run)["sampling"].of(count))
    total.add("pilot", *shared.of(count))
    batch = min(_rows_at_once(run), count)
    pieces = _passes(total.found, batch)
    if is_latent(run):
        pieces.append(Piece("decode", count * (1 + seen), run.config.sampler.batch_size))
    pieces += _of_kind("encode", count * seen)
    like = run.network_like() | {"batch": batch, "seen": seen, "source": source}
    size = footprint.of_pilot(run) + _manifest(run, "pilot", 1, 300)
    return Work(total.found, pieces, like, rows_of(total.found), size)


def of_sample(run: PlannedRun) -> Work:
    count, batch = run.config.sampler.samples, _rows_at_once(run)
    total, made = Sum(), footprint.versions(run)
    for name, cost in watched_counts(run).items():
        total.add(name, *cost.of(count))
    shared, seen = shared_count(run, "path", planned_scores(run, "path"))
    if shared.forward:
        total.add(PATH, *shared.of(count))
    once = watched_counts(run)["sampling"].forward
    for name, draws in made.items():
        total.add(name, once * draws * count)
    pieces = _passes(total.found, batch)
    if is_latent(run):
        pieces.append(Piece("decode", count * (1 + seen + sum(made.values())), run.config.sampler.batch_size))
    if seen:
        pieces.append(Piece("encode", count * seen, run.config.likelihood.batch_size))
    pieces += _of_kind("texts", prompts_encoded(run, count))
    like = run.network_like() | {"batch": batch, "backward": any(backward for _, backward in total.found.values())}
    amount = rows_of(total.found)
    kept = 2 if run.config.sampler.keep_path else 1  # files of a shard
    manifest = _manifest(run, "sample", kept * len(footprint.shard_sizes(run)), 300)
    size = footprint.of_samples(run) + footprint.of_paths(run) + manifest
    return Work(total.found, pieces, like, amount, size)


def _of_kind(kind: str, amount: float) -> list[Piece]:
    return [Piece(kind, amount)] if amount else []


def _rows_at_once(run: PlannedRun) -> int:
    """Rows of one evaluation of the sampler: guidance makes two branches of one batch."""
    size = min(run.config.sampler.batch_size, run.config.sampler.samples)
    return size * (1 if sampler_inputs(run).guidance_scale == 1.0 else 2)


def _passes(found: Evaluations, batch: int) -> list[Piece]:
    forward, backward = (sum(rows[side] for rows in found.values()) for side in (0, 1))
    return [Piece("forward", forward, batch), *([Piece("backward", backward, batch)] if backward else [])]


def of_probe(run: PlannedRun) -> Work:
    """Of the scores of finished samples, which share what they ask for."""
    count, (shared, seen) = run.config.sampler.samples, shared_count(run, "probe", planned_scores(run, "probe"))
    batch = min(run.config.sampler.batch_size, count)
    found, latent = {ALL: shared.of(count)}, is_latent(run)
    pieces = _passes(found, batch)
    if seen and latent:
        pieces.append(Piece("decode", count * seen, batch))
    if seen:
        pieces.append(Piece("encode", count * seen, run.config.likelihood.batch_size))
    like = run.network_like() | {"batch": batch, "seen": seen}
    size = footprint.of_probe(run) + _manifest(run, "probe", len(footprint.shard_sizes(run)), 300)
    return Work(found, pieces, like, rows_of(found), size)


def of_propagate(run: PlannedRun) -> Work:
    """The sampling that is watched is done again."""
    count, batch, shards = run.config.sampler.samples, _rows_at_once(run), footprint.shard_sizes(run)
    total = Sum()
    total.add("sampling", *watched_counts(run)["sampling"].of(count))
    total.add("propagation", *propagated_count(run).of(count, len(shards)))
    pieces, settings = _passes(total.found, batch), run.config.propagator
    latent = is_latent(run)
    if latent:
        decodings = 1 + settings.map_draws + (settings.map_method == "linear")
        pieces.append(Piece("decode", count * decodings, run.config.sampler.batch_size))
    like = run.network_like() | {"batch": batch, "propagator": run.plain("propagator")["propagator"], "latent": latent}
    amount = rows_of(total.found)
    size = footprint.of_propagation(run) + _manifest(run, "propagate", len(shards))
    return Work(total.found, pieces, like, amount, size)


# Scoring and judging


def of_embed(run: PlannedRun) -> Work:
    count, likelihood = run.config.sampler.samples, run.config.likelihood
    images = count * (1 + sum(footprint.embedded(run).values()))
    drawn = sum(footprint.draws_of(run, name) for name in regenerated(run))
    judged = count * (1 + drawn) + reference_count(run)
    pieces = [Piece("encode", images, likelihood.batch_size), Piece("judge", judged, 256)]
    if run.config.metric.prompt_model is not None:
        pieces.append(Piece("clip", count, 64))
    plain = run.plain("likelihood", "metric")
    like = {
        "shape": list(training_set(run).shape),
        "device": run.hardware(),
        "likelihood": {key: plain["likelihood"].get(key) for key in ("name", "extractor", "options", "batch_size")},
        "judge": {key: plain["metric"][key] for key in ("extractor", "options")},
        "judged share": round(judged / images, 1),
    }
    size = footprint.of_embeddings(run) + _manifest(run, "embed", len(footprint.shard_sizes(run)) + 1)
    return Work({}, pieces, like, images, size)


def of_score(run: PlannedRun) -> Work:
    """Rule: two tenths of a millisecond for each number."""
    count, columns = run.config.sampler.samples, score_columns(run)
    like = {"columns": columns, "dimension": build_likelihood(run).dimension, "draws": footprint.embedded(run)}
    rule = Piece("rule", 0.1 + 2e-4 * count * len(columns))
    return Work({}, [rule], like, count, footprint.of_scores(run) + _manifest(run, "score", 1))


def of_evaluate(run: PlannedRun) -> Work:
    """Thousands of parts of the samples are judged, and correlations resampled; the latter by a rule."""
    metric = run.plain("metric")["metric"]
    columns, count = score_columns(run), run.config.sampler.samples
    resampled = ("fractions", "bins", "bootstrap", "half_samples", "random_repeats", "per_class", "k")
    like = {"metric": {key: metric[key] for key in resampled}, "dimension": footprint.judge_dimension(run)}
    size = footprint.of_evaluation(run) + _manifest(run, "evaluate", 2, 600)
    pieces = [
        Piece("subset judge", 1.0),
        Piece("subset", judgements(run)),
        Piece("rule", BOOTSTRAP * metric["bootstrap"] * count * len(columns)),
    ]
    return Work({}, pieces, like, count * len(columns), size)


def judgements(run: PlannedRun) -> int:
    """How many parts of the samples the evaluation judges."""
    metric = run.config.metric
    cuts, halves = len(descending_fractions(metric.fractions)) - 1, metric.half_samples
    studies = 2 if metric.per_class and untrained_model(run).num_classes else 1
    bins = min(metric.bins, most_bins(run.config.sampler.samples, metric.k))
    shared = studies * (1 + halves + (metric.random_repeats + halves) * cuts)
    return shared + len(score_columns(run)) * (1 + halves) * (studies * cuts + bins)


def of_apply(run: PlannedRun) -> Work:
    settings, count = run.plain("application")["application"], run.config.sampler.samples
    worked = settings.get("samples") or count
    if settings["name"] == "rectify":
        worked = max(1, round(settings["failed"] * count))
    applied = application_count(run)
    cost = applied.evaluations
    batches = -(-worked // run.config.sampler.batch_size)
    found = {settings["name"]: cost.of(worked, batches)} if cost.forward else {}
    pieces = _passes(found, _rows_at_once(run)) if found else [Piece("rule", 1.0)]
    seen = applied.seen * worked + witnessed(run, settings, worked)
    if seen:
        pieces.append(Piece("encode", seen, run.config.likelihood.batch_size))
    if applied.decoded and is_latent(run):
        pieces.append(Piece("decode", applied.decoded * worked, run.config.sampler.batch_size))
    if applied.judged and run.config.metric.prompt_model is not None:
        pieces.append(Piece("clip", applied.judged * worked, 64))
    like = run.network_like() | {"application": settings, "batch": _rows_at_once(run)}
    examples = min(EXAMPLES, worked // settings.get("n", 1))
    size = examples * 4 * prod(training_set(run).shape) + 5000 + _manifest(run, "apply", 3)
    return Work(found, pieces, like, worked, size)


def witnessed(run: PlannedRun, settings: Mapping[str, Any], worked: int) -> int:
    """Images that the witnesses of a rectification embed: training images, the samples, and all attempts."""
    if settings["name"] != "rectify" or not asks_witnesses(settings):
        return 0
    learnt = min(settings["witness_images"], len(training_set(run)))
    each = learnt + run.config.sampler.samples + (1 + 2 * settings["candidates"]) * worked
    return each * sum(name != "pixels" for name in settings["witnesses"])


def of_report(run: PlannedRun) -> Work:
    """Rule: three seconds for the plots and the page."""
    like = {"image": is_image(run), "columns": len(score_columns(run))}
    size = footprint.of_report(run) + _manifest(run, "report", 16)
    return Work({}, [Piece("rule", 3.0)], like, 1.0, size)


def _manifest(run: PlannedRun, stage: str, files: int, notes: int = 200) -> int:
    return footprint.of_manifest(run.artefacts[stage].identity, files, notes)


WORKS: dict[str, Callable[[PlannedRun], Work]] = {
    "train": of_train,
    "judge": of_judge,
    "fit": of_fit,
    "pilot": of_pilot,
    "sample": of_sample,
    "probe": of_probe,
    "propagate": of_propagate,
    "embed": of_embed,
    "score": of_score,
    "evaluate": of_evaluate,
    "apply": of_apply,
    "report": of_report,
}
