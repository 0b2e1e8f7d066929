"""What scores cost over plain sampling: those of the one path, of guidance that is there anyway, of regenerations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from genuq import extractors
from genuq.analysis import ControlsModel
from genuq.bench.rows import Row, aimed, not_run, side_by_side
from genuq.data import Oracle, fashion_mnist, glyphs
from genuq.likelihoods import Likelihood, PixelLikelihood, SemanticLikelihood
from genuq.models import Engine, GenerativeModel, Sampler, sample, sample_latents, to_unit
from genuq.models.checkpoints import load_reference, reference_members
from genuq.posteriors import DeepEnsemble, Posterior, Scale, drawn_in, fit
from genuq.scores import Resources, guidance_gap, lid, path_disagreement, regenerate, score_together
from genuq.scores.shared import MAIN, SamplerPath, fresh, recording
from genuq.solvers import DPMSolverPlusPlus2M
from genuq.training.ensembles import checkpoint_weights

WITHIN = 0.01  # of the cross-fitted AUROC of full regenerations
FAITHFUL = 0.99  # Spearman rank agreement with float32
STEPS = 10
OBSERVATION_VARIANCE = 1e-3  # of features, the published one
LID_TIME, LID_NOISINGS = 0.5, 4  # of the default score where no classes are known
PathScore = Callable[[SamplerPath], Tensor]


@dataclass(frozen=True)
class Job:
    """A model with a posterior, and what is sampled of it."""

    model: GenerativeModel
    posterior: Posterior
    draws: int
    sampler: Sampler
    samples: int

    @property
    def indices(self) -> range:
        return range(self.samples)

    def plain(self) -> Tensor:
        return sample(self.model, self.sampler, self.indices)

    def on_path(self, score: PathScore) -> Tensor:
        """The samples' score while they are made, (N,)."""
        resources = Resources(posteriors={MAIN: self.posterior}, draws=self.draws)
        return torch.cat([self._of_batch(score, resources, batch) for batch in self._batches()])

    def probed(self) -> Tensor:
        """The samples' re-noising loss (LID) after they are made, (N,)."""
        score = partial(lid, times=(LID_TIME,), noisings=LID_NOISINGS)
        made = (fresh(self.model, self.sampler, batch, "probe", Resources()) for batch in self._batches())
        return torch.cat([score_together(one.predictions, {"score": score}).values["score"] for one in made])

    def _batches(self) -> list[range]:
        size = self.sampler.batch_size
        return [self.indices[start : start + size] for start in range(0, self.samples, size)]

    def _of_batch(self, score: PathScore, resources: Resources, batch: range) -> Tensor:
        with recording(self.model, self.sampler, batch) as recorder:
            sample_latents(self.model, self.sampler, batch, observers=[recorder])
        return score_together(recorder.path(resources), {"score": score}).values["score"]  # type: ignore[dict-item]

    def versions(self) -> Tensor:
        """The samples and their regenerations, (N, 1 + M, C, H, W)."""
        drawn = regenerate(self.model, self.posterior, self.sampler, self.indices, self.draws)
        return torch.cat([self.plain()[:, None], drawn], 1)


def of_glyphs(samples: int) -> Job:
    """The shipped glyphs with their ensemble of independent trainings, sampled as quickstart does."""
    model = load_reference("flow_matching", "glyphs")
    paths = reference_members("flow_matching_glyphs", "deep_ensemble")
    posterior = DeepEnsemble(model.network)
    for path in paths:
        posterior.update(checkpoint_weights(path, model))
    posterior.finalise(Scale(n_effective=1, observation_noise=1.0, prior_precision=1.0))
    return Job(model, posterior, len(paths), Sampler(DPMSolverPlusPlus2M(), steps=STEPS, batch_size=256), samples)


def of_fashion(samples: int) -> Job:
    """The shipped Fashion-MNIST with exact Laplace over its head."""
    model = load_reference("flow_matching")
    posterior = fit(model, fashion_mnist("train"), images=512, held_out=256).posterior
    return Job(model, posterior, 5, Sampler(DPMSolverPlusPlus2M(), steps=STEPS), samples)


def default_scores(samples: int, rounds: int) -> list[Row]:
    """The default scores over plain sampling: LID and path disagreement beside regenerations; with classes the gap."""
    glyph, classes = of_glyphs(samples), of_fashion(max(1, samples // 4))
    guided = replace(classes, sampler=replace(classes.sampler, guidance_scale=2.0))
    oracle = glyphs(size=1).oracle
    assert oracle is not None
    return [*beside_regenerations(glyph, oracle, rounds), *with_the_gap(classes, rounds), *with_the_gap(guided, rounds)]


def beside_regenerations(job: Job, oracle: Oracle, rounds: int) -> list[Row]:
    """LID, path disagreement and regenerations over plain sampling, with their cross-fitted AUROC of broken samples."""
    found: dict[str, Tensor] = {}
    likelihood = PixelLikelihood(job.model.shape)
    what = f"{job.samples} glyphs, {STEPS} steps"
    default, path = f"{what}, with the default score (LID)", f"{what}, with disagreement at the path's last point"
    full = f"{what}, with {job.draws} regenerations"

    def plain() -> Mapping[str, float]:
        found["images"] = job.plain()
        return {}

    def of_samples() -> Mapping[str, float]:
        found[default] = job.probed()
        return {}

    def of_path() -> Mapping[str, float]:
        found[path] = job.on_path(path_disagreement)
        return {}

    def of_versions() -> Mapping[str, float]:
        found[full] = likelihood.uncertainty(likelihood.embed(to_unit(job.versions())))
        return {}

    work = {what: plain, default: of_samples, path: of_path, full: of_versions}
    rows = side_by_side(work, rounds, job.model)
    bad = oracle.truth(found["images"]).of("broken")
    judged = [replace(row, values=_auroc(found.get(row.what), bad)) for row in rows]
    many = f"a time asks the network {LID_NOISINGS} times: 1 + {LID_NOISINGS} / {STEPS}, and 1.1 at 50 steps"
    every = f"a point of {STEPS} asks every member once: 1 + M / {STEPS}"
    costs = zip(judged[1:3], (many, every), strict=True)
    return [judged[0], *(as_good(row, why, judged[3].values) for row, why in costs), judged[3]]


def _auroc(score: Tensor | None, bad: Tensor) -> Mapping[str, float]:
    """Cross-fitted, so that the sign of the score is not known beforehand; nothing where too few are bad."""
    if score is None:
        return {}
    model = ControlsModel(bad.numpy(), [score.numpy()])
    if model.undefined is not None:
        return {}
    return {"AUROC": float(model.base(np.ones((1, len(bad))))[0])}


def as_good(row: Row, cost: str, regenerations: Mapping[str, float]) -> Row:
    """The row with its target, which counts only where bad samples are found as well as by regenerations.

    Args:
        cost: why it costs what it does.
    """
    row = aimed(row, 1.25, cost)
    own, theirs = row.values.get("AUROC"), regenerations.get("AUROC")
    if own is None or theirs is None:
        return replace(row, reason="too few broken samples for an AUROC")
    worse = f"AUROC is more than {WITHIN} below that of regenerations" if own < theirs - WITHIN else None
    return replace(row, reason=worse or row.reason)


def with_the_gap(job: Job, rounds: int) -> list[Row]:
    """The guidance gap over sampling, which has asked for it already where it guides."""
    guides = job.sampler.guidance_scale != 1
    what = f"{job.samples} images of Fashion-MNIST, {STEPS} steps, {'with' if guides else 'without'} guidance"
    work = {
        what: lambda: _nothing(job.plain()),
        f"{what}, with the guidance gap": lambda: _nothing(job.on_path(guidance_gap)),
    }
    plain, scored = side_by_side(work, rounds, job.model)
    if guides:
        return [plain, aimed(scored, 1.0, "as many evaluations; the rest is what keeps and compares the answers")]
    return [plain, aimed(scored, 1.25, f"two points ask the null class once each: 1 + 2 / {STEPS}, and its overhead")]


def _nothing(result: object) -> Mapping[str, float]:
    return {}


LEFT_OUT = "not run with --quick: it takes minutes"
ENGINES = {
    "float32": Engine(),
    "float32, compiled": Engine(compile=True),
    "bfloat16": Engine("bfloat16"),
    "bfloat16, compiled": Engine("bfloat16", compile=True),
}


def regenerations(samples: int, rounds: int, engines: Sequence[str] = tuple(ENGINES)) -> list[Row]:
    """M regenerations by each engine over M + 1 plain samplings in float32, and how alike the scores are.

    Under draws of the head, which half precision does not round but may drown, and under independent trainings, which
    it rounds.

    Args:
        engines: that are tried; float32 is. Compiling takes minutes, and bfloat16 where the processor has none of it.
    """
    images, glyph = of_fashion(samples), of_glyphs(samples)
    semantic = SemanticLikelihood(extractors.build("efficientnet", image_size=64), OBSERVATION_VARIANCE)
    pixels = PixelLikelihood(glyph.model.shape)
    return [
        *by_engine(images, f"{samples} images of Fashion-MNIST", "of draws of the head", semantic, rounds, engines),
        *by_engine(glyph, f"{samples} glyphs", "of independent trainings", pixels, rounds, engines),
    ]


def by_engine(
    job: Job, what: str, members: str, likelihood: Likelihood, rounds: int, engines: Sequence[str]
) -> list[Row]:
    """A row for plain sampling, and one for the regenerations by each engine.

    Args:
        what: is sampled.
        members: whose samples the regenerations are.
    """
    what, versions = f"{what}, {STEPS} steps, in float32", dict[str, Tensor]()
    torch.compiler.reset()  # as in a process of its own: a second network would be compiled for shapes of any size

    def work(name: str, model: GenerativeModel) -> Mapping[str, float]:
        versions[name] = replace(job, model=model).versions()
        return {}

    sides: dict[str, Callable[[], Mapping[str, float]]] = {what: lambda: _nothing(job.plain())}
    for name in engines:
        engine = ENGINES[name]
        model = engine.of(job.model, *drawn_in(engine.precision, [job.posterior]))
        sides[f"regenerations {members} in {name}"] = partial(work, name, model)
    plain, *others = side_by_side(sides, rounds, job.model, parts=1 + job.draws)
    passes = (1 + job.draws) * (plain.evaluations or 0)
    scores = {name: likelihood.uncertainty(likelihood.embed(to_unit(some))) for name, some in versions.items()}
    judged = [
        _judged(replace(row, evaluations=passes), scores[name], scores["float32"]) for row, name in zip(others, engines)
    ]
    left_out = [name for name in ENGINES if name not in engines]
    return [plain, *judged, *(not_run(f"regenerations {members} in {name}", LEFT_OUT, target=0.6) for name in left_out)]


def _judged(row: Row, score: Tensor, reference: Tensor) -> Row:
    """The row with its rank agreement, over its target of the time."""
    agreement = float(spearmanr(score, reference).statistic)
    apart = (
        f"rank agreement below {FAITHFUL}: rounding outweighs what the draws change" if agreement < FAITHFUL else None
    )
    row = replace(row, over="as many plain samplings", reason=apart, values={"Spearman": agreement})
    return aimed(row, 0.6, "each member is a whole sampling: what a pass costs on this processor")
