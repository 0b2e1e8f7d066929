"""`scheduler`: a model's own, as coefficients or directly where it is not affine."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from genuq.errors import ConfigurationError
from genuq.processes import FlowMatching
from genuq.solvers import SchedulerSolver, build
from genuq.solvers.own import OwnScheduler
from support.their_schedulers import DIFFUSION, diffusion


def model_of(scheduler: object) -> SimpleNamespace:
    return SimpleNamespace(steps=4, solver=lambda directly, eta: SchedulerSolver(scheduler, directly=directly))


@pytest.mark.parametrize("asked,directly", [(None, False), (False, False), (True, True)])
def test_is_what_the_model_has(asked: bool | None, directly: bool) -> None:
    found = build("scheduler", directly=asked).of(model_of(DIFFUSION["unipc"]()))
    assert isinstance(found, SchedulerSolver) and found.directly is directly


def test_one_that_clips_samples_itself_and_says_why() -> None:
    clipping = diffusion("DDIMScheduler", clip_sample=True)()
    found = OwnScheduler().of(model_of(clipping))
    assert found.directly and "clip_sample = True" in str(found.why_not_affine(4))
    with pytest.raises(ConfigurationError, match=r"samples directly.*clip_sample = True"):
        found.sampling_stages(found.process, found.prediction, 4)


def test_any_other_solver_is_itself() -> None:
    solver = build("ddim")
    assert solver.of(object()) is solver


def test_a_model_without_one_is_told() -> None:
    for ask in (lambda own: own.of(object()), lambda own: own.stages(FlowMatching(), "flow", [1.0, 0.0])):
        with pytest.raises(ConfigurationError, match="this model brings none: choose another sampler"):
            ask(OwnScheduler())
