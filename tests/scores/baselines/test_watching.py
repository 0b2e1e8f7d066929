"""Watchers: they change no sample, belong to the sample, see the trajectory alone, and their cost is counted."""

from __future__ import annotations

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.models import Sampler, sample
from genuq.networks import UNet
from genuq.scores import SCORES
from genuq.scores.baselines import StepWatcher, steps_in, watch
from genuq.solvers import DDIM, DDPM, DPMSolver2, DPMSolverPlusPlus2M, Euler, Heun, grid
from support.watched_models import CLASSES, SHAPE, random_model

BASELINES = {name: SCORES[name].make for name in SCORES.names(source="trajectory")}

CASES = {
    "pixels, Heun, flow": ("pixels", "flow_matching", "flow", Heun()),
    "pixels, ancestral, epsilon": ("pixels", "variance_preserving", "epsilon", DDPM()),
    "latents, 2M, v": ("latents", "variance_preserving", "v_prediction", DPMSolverPlusPlus2M()),
    "points, Euler, sample": ("points", "flow_matching", "sample", Euler()),
    "points, DPM-Solver-2, flow": ("points", "variance_preserving", "flow", DPMSolver2()),
}


def watched(case: str, indices, batch_size: int = 64, **options):
    kind, process, prediction, solver = CASES[case]
    sampler = Sampler(solver, steps=4, batch_size=batch_size, seed=7, **options)
    return watch(random_model(kind, process, prediction), sampler, indices, BASELINES)


@pytest.mark.parametrize("case", CASES)
def test_watching_changes_no_sample(case):
    kind, process, prediction, solver = CASES[case]
    unwatched = sample(random_model(kind, process, prediction), Sampler(solver, steps=4, seed=7), range(5))
    assert torch.equal(watched(case, range(5)).samples, unwatched)


@pytest.mark.parametrize("case", CASES)
def test_a_score_belongs_to_its_sample_whatever_the_batch(case):
    order = [6, 0, 11, 3, 2]
    whole = watched(case, range(12), guidance_scale=1.5)
    parts = watched(case, order, batch_size=2, guidance_scale=1.5)
    for name, values in whole.scores.items():
        assert values.dtype == torch.float64
        assert values.isfinite().all()
        assert len(values.unique()) == 12, name
        torch.testing.assert_close(parts.scores[name], values[order], rtol=1e-3, atol=1e-4)


def test_dropout_is_off_while_watching():
    model = random_model()
    model.network = UNet(SHAPE, channels=(8, 16), num_classes=CLASSES, dropout=0.5)
    for weight in model.network.parameters():  # those that start at zero would hide the dropout
        torch.nn.init.normal_(weight, std=0.1)
    first, again = (watch(model.train(), Sampler(steps=3), range(3), BASELINES).scores for _ in range(2))
    assert model.training
    for name in BASELINES:
        assert torch.equal(first[name], again[name])


@pytest.mark.parametrize("solver", [Euler(), DDIM(0.5), Heun(), DPMSolver2(), DPMSolverPlusPlus2M()])
def test_steps_are_seen_once_at_the_times_of_the_grid(solver):
    class Times(StepWatcher):
        def __init__(self, *batch):
            super().__init__(*batch, window=(0.4, 1.0))
            self.times = []

        def look(self, record):
            self.times.append((self.step, record.stage.t))

        def score(self):
            seen.append(self.times)
            return torch.zeros(1)

    seen: list = []
    model = random_model(process="variance_preserving", prediction="epsilon")
    watch(model, Sampler(solver, steps=5), [0], {"times": Times})
    times = grid(model.process, 5, solver.start(model.process, "epsilon"))
    assert seen == [[(step, pytest.approx(times[step])) for step in (2, 3, 4)]]


@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize("solver", [Euler(), Heun()])
def test_evaluations_are_counted_where_they_happen(solver, scale):
    """AU: 5 noisings in 2 of 10 steps. Divergence: a forward and a backward pass in each step. Likelihood: 41 + 21."""
    model, rows = random_model(), []
    model.network.register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    sampler = Sampler(solver, steps=10, guidance_scale=scale)
    spent = watch(model, sampler, range(3), BASELINES).evaluations
    assert spent["sampling"] == sampler.evaluations(model)
    branches = 1 if scale == 1.0 else 2
    expected = {"aleatoric": 10, "trajectory_variance": 0, "divergence": 20, "likelihood": 62}
    assert {name: spent[name] / branches for name in BASELINES} == expected
    backward = branches * (10 + 21)
    assert sum(rows) / 3 == sum(spent.values()) - backward


def test_progress_counts_samples_and_none_are_refused():
    done: list[int] = []
    watch(random_model(), Sampler(steps=2, batch_size=2), range(5), {}, progress=done.append)
    assert done == [2, 2, 1]
    with pytest.raises(ConfigurationError, match="No samples"):
        watch(random_model(), Sampler(steps=2), [], BASELINES)


def test_windows():
    assert list(steps_in((0.8, 1.0), 20)) == [16, 17, 18, 19]
    assert list(steps_in((0.9, 1.0), 3)) == [2]
    assert list(steps_in((0.99, 1.0), 4, least=2)) == [2, 3]
    assert list(steps_in((0.0, 0.1), 4)) == [0]
    with pytest.raises(ConfigurationError, match="at least 2 steps"):
        steps_in((0.0, 1.0), 1, least=2)
    for window, said in (
        ((0.5, 0.5), "above the one before it"),
        ((-0.1, 1.0), "must lie in"),
        ((0.0, 1.1), "must lie in"),
    ):
        with pytest.raises(ConfigurationError, match=rf"score\.window = .*{said}"):
            steps_in(window, 10)
