"""What stages declare and open: parts by name and code, data by content, devices that are there."""

from __future__ import annotations

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.identity import identity_of
from genuq.models import Engine, GenerativeModel
from genuq.pipeline.inputs import DataInputs, PartInputs, SamplerInputs, available, code_of, load_split, part_inputs
from genuq.pipeline.memory import Memory
from genuq.posteriors import POSTERIORS, PosteriorPart
from genuq.propagators import PROPAGATORS
from genuq.solvers import Heun, KarrasLevels

MIXTURE = {"name": "gaussian_mixture", "modes": 8, "size": 50, "subset": None, "root": None}


def test_a_part_is_its_name_and_options_and_a_foreign_one_also_its_code() -> None:
    own = part_inputs(POSTERIORS.get("swag"), {"rank": 3})
    assert identity_of(own) == {"name": "swag", "options": {"rank": 3}, "code": None}
    foreign = PosteriorPart(name="narrow", target="support.my_lab_parts:Narrow")
    code = code_of(foreign)
    assert code is not None and code["target"] == "support.my_lab_parts:Narrow" and len(code["sha256"]) == 64


def test_an_option_that_came_later_enters_only_where_it_is_given() -> None:
    paper, older = PROPAGATORS.get("paper"), {"states": 10, "skip": 1}
    assert part_inputs(paper, {**older, "faults": None}).options == older
    assert part_inputs(paper, {**older, "faults": []}).options == {**older, "faults": []}
    assert part_inputs(PROPAGATORS.get("trajectory"), {"data_variance": None}).options == {"data_variance": None}


def test_splits_are_loaded_once_and_a_subset_is_of_the_training_set_alone() -> None:
    memory = Memory()
    whole = load_split(memory, MIXTURE, "train")
    assert load_split(memory, MIXTURE, "train") is whole and len(whole) == 50
    some = load_split(memory, MIXTURE, "train", subset=20, seed=3)
    assert len(some) == 20 and len(load_split(memory, MIXTURE, "test", subset=20, seed=3)) > 20
    known = {tuple(point) for point in whole.batch(range(50))[0].tolist()}
    assert {tuple(point) for point in some.batch(range(20))[0].tolist()} <= known


def test_a_starved_class_is_of_the_training_set_alone() -> None:
    memory, options = Memory(), MIXTURE | {"size": 400, "starve": {"mode 3": 0.1, "mode 5": 0}, "permute": False}
    whole, fed = load_split(memory, options, "train", seed=3), load_split(memory, MIXTURE | {"size": 400}, "train")
    counts = fed.labels.bincount()
    expected = [
        round(0.1 * int(count)) if mode == 3 else 0 if mode == 5 else int(count) for mode, count in enumerate(counts)
    ]
    assert whole.labels.bincount(minlength=8).tolist() == expected
    assert len(load_split(memory, options, "test", seed=3)) == 400
    assert len(load_split(memory, options, "train", subset=20, seed=3)) == 20


def test_data_are_known_by_content_and_only_declared_splits_may_be_read() -> None:
    data = DataInputs({"train": "abc"}, MIXTURE, subset=20, seed=3, memory=Memory())
    assert identity_of(data) == {"train": "abc"} and len(data.train) == 20
    with pytest.raises(LookupError, match="the test set is not declared here"):
        _ = data.test


MODEL = GenerativeModel(torch.nn.Linear(2, 2), (2,))


def test_a_sampler_is_built_of_what_was_declared() -> None:
    inputs = SamplerInputs(PartInputs("heun", {}, None), 7, "uniform_time", 1.5, (0, 1), 3, 40, 16)
    sampler = inputs.build(MODEL)
    assert isinstance(sampler.solver, Heun) and (sampler.steps, sampler.guidance_scale) == (7, 1.5)
    assert (sampler.spacing, sampler.classes, sampler.seed, sampler.batch_size) == ("uniform_time", (0, 1), 3, 16)


def test_a_sampler_that_does_not_clip_keeps_the_identity_that_it_had_before_there_was_clipping() -> None:
    plain, clipping = (
        SamplerInputs(PartInputs("heun", {}, None), 7, "uniform_time", 1.5, (0, 1), 3, 40, 16, clip_x0=clip)
        for clip in (False, True)
    )
    assert "clip_x0" not in identity_of(plain) and identity_of(clipping) == identity_of(plain) | {"clip_x0": True}
    assert clipping.build(MODEL).clip_x0 and not plain.build(MODEL).clip_x0


def test_numbers_of_a_grid_enter_an_identity_where_they_are_given() -> None:
    given = {"rho": 5.0, "sigma_min": 0.01, "sigma_max": 40.0}
    plain, chosen = (
        SamplerInputs(PartInputs("heun", {}, None), 7, "karras", 1.5, (0, 1), 3, 40, 16, **numbers)
        for numbers in ({}, given)
    )
    assert identity_of(chosen) == identity_of(plain) | given and not given.keys() & identity_of(plain).keys()
    assert chosen.build(MODEL).grid == KarrasLevels(5.0, 0.01, 40.0) and plain.build(MODEL).grid == KarrasLevels()


def test_how_the_network_is_evaluated_is_told_where_it_is_not_in_float32_as_it_is() -> None:
    plain, half = (
        SamplerInputs(PartInputs("heun", {}, None), 7, "uniform_time", 1.5, (0, 1), 3, 40, 16, engine=engine)
        for engine in (Engine(), Engine("bfloat16"))
    )
    assert "engine" not in identity_of(plain)
    assert (
        identity_of(half) == identity_of(plain) | {"engine": Engine("bfloat16").identity}
        and Engine("bfloat16").identity
    )


def test_a_device_that_is_not_there_is_refused_by_its_key() -> None:
    assert available("cpu") == torch.device("cpu")
    with pytest.raises(ConfigurationError, match=r"device = 'nowhere' cannot be used: .*Use device=auto, or cpu"):
        available("nowhere")
