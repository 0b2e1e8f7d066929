"""The study of starved classes: what its script counts, against direct readings of its words."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from genuq.analysis import Interval
from genuq.models import Sampler, sample
from genuq.models.checkpoints import reference_members, reference_path
from genuq.solvers import Euler

SCRIPT = Path(__file__).parents[2] / "experiments" / "starved" / "measure.py"


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    spec = importlib.util.spec_from_file_location("starved_measure", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def study(measure: ModuleType, control: str = "all") -> object:
    return measure.Study(control=control, samples=180, first_seed=0)


def made(measure: ModuleType, shift: float, seed: int) -> dict[str, Tensor]:
    """Scores of 180 samples in which those of bags are higher by `shift`; a judge who always says trouser."""
    classes = torch.tensor(measure.ASKED * 10)
    noise = torch.randn(len(classes), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    columns = {name: noise + shift * (classes == measure.BAG) for name in measure.COLUMNS}
    return columns | {"class": classes, "judged": torch.ones_like(classes)}


def pairs_won(bad: np.ndarray, good: np.ndarray) -> float:
    return float(np.mean([[(one > other) + 0.5 * (one == other) for other in good] for one in bad]))


def test_half_of_the_samples_are_to_be_bags_and_the_rest_is_dealt(measure: ModuleType) -> None:
    counts = torch.tensor(measure.ASKED).bincount(minlength=10).tolist()
    assert counts == [1] * 8 + [9, 1]


def test_the_number_is_what_bags_win_over_others_less_that_of_the_control(measure: ModuleType) -> None:
    ours, control = ([made(measure, shift, seed) for seed in range(3)] for shift in (1.0, 0.0))
    of_lid, of_control = (measure.of_bags(study(measure), networks, "lid") for networks in (ours, control))
    found = measure.above(of_lid, of_control)
    expected = []
    for one, other in zip(ours, control, strict=True):
        bag = (one["class"] == measure.BAG).numpy()
        expected.append(
            np.subtract(*(pairs_won(each["lid"].numpy()[bag], each["lid"].numpy()[~bag]) for each in (one, other)))
        )
    assert found.interval.value == pytest.approx(np.mean(expected), abs=1e-12)
    assert found.student.excludes(0) and found.p() < 0.05
    nothing = measure.above(of_control, of_control)
    assert nothing.student == Interval(0.0, 0.0, 0.0)


def test_the_placebo_is_of_classes_of_which_nothing_was_taken(measure: ModuleType) -> None:
    ours, control = ([made(measure, shift, seed) for seed in range(3)] for shift in (1.0, 0.0))
    assert measure.of_other_classes(ours, control, "lid") == [0.0] * 9  # bags are not among them
    for one in ours:
        one["lid"] = one["lid"] + 5.0 * (one["class"] == 1)
    moves = measure.of_other_classes(ours, control, "lid")
    assert max(moves) == moves[1] > 0.3 and max(moves[:1] + moves[2:]) < 0


@pytest.mark.parametrize(("control", "declared"), [("all", 8), ("seen", 5)])
def test_the_table_says_which_were_declared_and_what_the_judge_sees(
    measure: ModuleType, control: str, declared: int
) -> None:
    found = {
        name: [made(measure, shift, seed) for seed in range(3)]
        for name, shift in zip(("starved", "unseen", control), (1.0, 2.0, 0.0))
    }
    lines = measure.table(study(measure, control), found)
    compared = 2 * len(measure.COLUMNS)
    assert sum("(Holm)" in line for line in lines) == declared
    assert sum("not declared" in line for line in lines) == compared - declared
    assert any(line.startswith(f"| {control} | 0.000") and "| 0.111" in line for line in lines)  # one class in nine


def test_lmi_is_the_network_itself_from_noise_moved_a_little(measure: ModuleType) -> None:
    model = measure.load_model(reference_path(f"{measure.NAME}_unseen"))[0]
    sampler = Sampler(Euler(), 2, seed=5, classes=measure.ASKED)
    ours, moved = sample(model, sampler, [0, 1]), measure.moved(model, sampler, [0, 1], 2)
    assert moved.shape == (2, 2, *ours.shape[1:]) and not torch.equal(moved[:, 0], moved[:, 1])
    far = (moved - ours[:, None]).flatten(2).norm(dim=2)
    assert bool((far > 0).all()) and bool((far < 0.25 * ours.flatten(1).norm(dim=1)[:, None]).all())


def test_every_column_is_scored_on_the_samples_that_were_asked_for(measure: ModuleType) -> None:
    name = f"{measure.NAME}_unseen"
    paths = [reference_path(name), *reference_members(name, "deep_ensemble")]
    sampler = Sampler(Euler(), 2, seed=5, classes=measure.ASKED)
    found = measure.scored(paths[0], paths[1:], reference_path(f"{name}_early"), sampler, 6, "unseen, 0")
    assert set(found) == {*measure.COLUMNS, "class", "judged"}
    assert found["class"].tolist() == measure.ASKED[:6]
    assert all(len(found[name]) == 6 and bool((found[name].diff() != 0).any()) for name in measure.COLUMNS)
    without = measure.scored(paths[0], paths[1:], None, sampler, 6, "unseen, 0")
    assert set(found) - set(without) == {"weak_model_gap"}
    assert all(torch.equal(values, found[name]) for name, values in without.items())
