"""The recorder of the sampler's path: states at the starts of steps, and answers for the classes asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.files import read_tensors, write_tensors
from genuq.models import Sampler, sample
from genuq.scores import guidance_gap, path_disagreement
from genuq.scores.shared import MAIN, PathRecorder, Resources, recording, score_together
from genuq.scores.shared.path import require_points
from genuq.solvers import Euler, Heun, SchedulerSolver
from support import their_schedulers
from support.slow_scores import posterior_of
from support.watched_models import CLASSES, random_model


@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize("solver", [Euler(), Heun()])
def test_answers_are_those_of_the_network_at_the_recorded_states(solver, scale) -> None:
    model, sampler = random_model().eval(), Sampler(solver, steps=4, guidance_scale=scale)
    with recording(model, sampler, [0, 1, 4]) as recorder:
        sample(model, sampler, [0, 1, 4], observers=[recorder])
    assert recorder.times == [pytest.approx(1 - step / 4) for step in range(4)]
    for x, t, answers in zip(recorder.states, recorder.times, recorder.answers):
        assert answers.keys() == ({0} if scale == 1.0 else {0, "null"})
        for label, answer in answers.items():
            y = torch.tensor([0, 1, 1] if label == 0 else [CLASSES] * 3)
            with torch.no_grad():
                torch.testing.assert_close(model(x, torch.full((3,), t), y), answer)
    assert not model._forward_hooks


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_a_path_that_was_kept_scores_as_the_one_that_was_recorded(scale: float, tmp_path: Path) -> None:
    model, sampler = random_model().eval(), Sampler(Heun(), steps=4, guidance_scale=scale)
    with recording(model, sampler, [0, 1, 4]) as recorder:
        sample(model, sampler, [0, 1, 4], observers=[recorder])
    write_tensors(tmp_path / "path.safetensors", recorder.tensors())
    stored, _ = read_tensors(tmp_path / "path.safetensors")
    kept = PathRecorder.kept(model, sampler, [0, 1, 4], stored)
    assert kept.times == recorder.times and stored["states"].shape == (3, 4, *model.latent_shape)
    resources = Resources({MAIN: posterior_of("network", model)}, 2)
    scores = {"gap": guidance_gap, "disagreement": path_disagreement}
    before, after = (score_together(one.path(resources), scores) for one in (recorder, kept))
    assert before.evaluations == after.evaluations
    for name, values in before.values.items():
        assert torch.equal(values, after.values[name])  # to the last bit: nothing is rounded


def test_points_are_fractions_of_the_steps() -> None:
    model, sampler = random_model(), Sampler(steps=5)
    with recording(model, sampler, [0]) as recorder:
        sample(model, sampler, [0], observers=[recorder])
    path = recorder.path()
    assert path.steps == 5 and path.at((0.0, 0.3, 0.5, 1.0)) == [0, 1, 2, 4] and path.at((0.99, 1.0)) == [4]
    for points in ((), (1.1,), (-0.1, 0.5)):
        with pytest.raises(ConfigurationError, match=r"score\.path_points = \[.*fractions of the path"):
            require_points(points, "score.path_points")
        with pytest.raises(ConfigurationError, match="points"):
            path.at(points)


def test_what_a_scheduler_told_the_network_is_kept_and_told_again() -> None:
    """Karras' sigmas lie beside the rounded times that the network is told."""
    solver = SchedulerSolver(their_schedulers.DIFFUSION["dpm++ 2m karras"]())
    model, sampler = their_schedulers.model_of(solver), Sampler(solver, steps=5)
    with recording(model, sampler, [0, 1]) as recorder:
        sample(model, sampler, [0, 1], observers=[recorder])
    again = PathRecorder.kept(model, sampler, [0, 1], recorder.tensors())
    assert again.told == recorder.told == solver.prepared(5).timesteps.tolist()
    path = again.path()
    for step in range(5):
        asked = path._evaluate(step, 0)
        torch.testing.assert_close(asked, recorder.answers[step][0], rtol=1e-6, atol=1e-6)
    with recording(random_model().eval(), Sampler(steps=2), [0]) as plain:
        sample(random_model().eval(), Sampler(steps=2), [0], observers=[plain])
    assert "told" not in plain.tensors(), "of genuq's own solvers nothing more is kept"
