"""No value of any key ends in a traceback, or in an error after a stage has begun: what cannot be is refused before, by
a sentence that names the key and the value. The keys are those of the schema: a new one is tried as it comes.
"""

from __future__ import annotations

import functools
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from genuq.config import schemas
from genuq.config.compose import check_overrides
from genuq.errors import ConfigurationError
from support.every_key import HUGE, NAN, NOWHERE, Outcome, Trial, before_the_first_stage, early, trials

# Odd values that are sound, with the reason. A key of a group stands for all options that have it.
SOUND: dict[str, tuple[list[object], str]] = {
    "seed": ([0], "the first seed"),
    "data.seed": ([0], "the first seed"),
    "posterior.subset_seed": ([0], "the first seed"),
    "name": ([NOWHERE], "a name is free"),
    "model.name": ([NOWHERE], "a name is free: only the shipped checkpoints go by it"),
    "study": ([NOWHERE], "a name is free"),
    "store": ([NOWHERE], "a store that is not there yet is made"),
    "worker": ([-1, 0, HUGE], "any number tells jobs apart"),
    "logger.project": ([NOWHERE], "wandb makes it"),
    "logger.entity": ([NOWHERE], "only wandb knows its users, and a run may be offline"),
    "network.dropout": ([0.0], "no dropout"),
    "sampler.eta": ([0.0], "deterministic"),
    "sampler.guidance_scale": ([-1.0, 0.0], "away from the class, and none: where the model knows classes"),
    "sampler.classes": ([[0]], "the first class: where the model knows classes"),
    "posterior.beta1": ([0.0], "no momentum"),
    "posterior.beta2": ([0.0], "the curvature of the last step alone"),
    "posterior.held_out": ([0], "nothing has to be learnt where the scale is given"),
    "application.threshold": ([-1.0, 0.0], "scores have any sign"),
    "application.dilate": ([0], "the region as it is"),
    "application.margin": ([0.0], "any improvement counts"),
    "trainer.warmup_steps": ([0], "none"),
    "trainer.weight_decay": ([0.0], "none"),
    "trainer.ema_decay": ([0.0], "no average"),
    "trainer.class_dropout": ([0.0], "no class is hidden"),
}
# Sets that are fetched where they are not there: what a run says of their keys takes a network.
FETCHED = ("data=fashion_mnist", "data=mnist", "data=cifar10")


def is_sound(trial: Trial) -> bool:
    return any(trial.value == value for value in SOUND.get(trial.full_key, ([], ""))[0])


@functools.cache
def left() -> dict[str, list[Trial]]:
    """By option, the trials that neither type nor bounds refuse, and that are not known to be sound; each key once."""
    schemas.register()
    found: dict[str, list[Trial]] = defaultdict(list)
    seen = set()
    for trial in trials():
        known = (trial.full_key, str(trial.kind), str(trial.bounds), str(trial.value))
        if known in seen or is_sound(trial):
            continue
        outcome = early(trial)
        assert outcome is not Outcome.UNNAMED, trial
        if outcome is None:
            found[trial.chosen].append(trial)
            seen.add(known)
    return dict(found)


def test_every_key_says_what_it_takes() -> None:
    """Or a bad value of a new key would be noticed late, if at all."""
    bare = {trial.full_key for trial in trials() if trial.bounds is Any}
    assert all(key.endswith(".name") for key in bare)  # which the registers know


def test_most_is_refused_as_it_is_typed() -> None:
    """By the type, or by the bounds that stand with the option: in a sweep before the first job."""
    schemas.register()
    assert sum(map(len, left().values())) < 0.1 * len(list(trials()))


CHOSEN = sorted({trial.chosen for trial in trials()} - set(FETCHED))


@pytest.mark.parametrize("chosen", CHOSEN)
def test_the_rest_is_refused_before_the_first_stage(chosen: str, image_root: Path, tmp_path: Path) -> None:
    wrong = {}
    for trial in left().get(chosen, []):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a network of odd sizes is warned of
            outcome, said = before_the_first_stage(trial, image_root, tmp_path)
        if outcome is not Outcome.NAMED:
            wrong[str(trial)] = (outcome.name, said)
    assert wrong == {}


def test_every_odd_value_that_is_called_sound_is_one_that_is_tried() -> None:
    tried = {(trial.full_key, str(trial.value)) for trial in trials()}
    assert {(key, str(value)) for key, (values, _) in SOUND.items() for value in values} <= tried


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trainer.learning_rate=nan", f"trainer.learning_rate = {NAN}; it must be finite and above 0"),
        ("trainer.ema_decay=1.5", r"trainer.ema_decay = 1.5; it must lie in \[0, 1\)"),
        (
            "trainer.precision=float16",
            "trainer.precision = 'float16'; choose 32-true, .* or bf16-true",
        ),
        ("metric.fractions=[1.0,nan]", r"metric.fractions = \[1.0, nan\]; of each entry, such as nan"),
        ("metric.fractions=[0.9,0.5]", r"metric.fractions = \[0.9, 0.5\]; 1.0 must be among them"),
        ("stages=[]", r"stages = \[\]; at least 1 entry is needed"),
        ("stages=[fit,fit]", r"stages = \['fit', 'fit'\]; each entry may stand there once"),
    ],
)
def test_a_value_outside_its_bounds_is_refused_as_it_is_typed(text: str, said: str) -> None:
    schemas.register()
    with pytest.raises(ConfigurationError, match=f"^{said}"):
        check_overrides([text])
