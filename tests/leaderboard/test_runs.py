"""The runs of a board: known as finished without composing them, and checked before any of them starts."""

import pytest

from genuq.config import schemas
from genuq.errors import ArtefactError, ConfigurationError
from genuq.leaderboard.board import read_board
from genuq.leaderboard.results import Condition
from genuq.leaderboard.runs import in_words, is_saved, plan_of, require_sound, runs_of, saved_below, store_of
from support import tiny_board


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    schemas.register()
    monkeypatch.chdir(tmp_path)


def tiny(folder, *more):
    points = tiny_board.TINY["data"]["points"] | {"settings": [*tiny_board.POINTS, *more]}
    path = tiny_board.declare(folder, data={"points": points})
    return runs_of(read_board(path), folder / "board")


def test_a_run_for_each_condition(tmp_path) -> None:
    first, second = tiny(tmp_path)
    assert first.folder == tmp_path / "board/runs/points/ode/seed_0"
    assert second.set_folder == tmp_path / "board/sets/points/ode/seed_1"
    assert first.config.sampler.samples == 64 and first.config.score.also == ["renoised_disagreement", "lid"]
    assert first.with_choices().choices["posterior"] == "deep_ensemble"
    assert not first.is_finished and not is_saved(first)
    assert in_words(first.condition) == "points, ode, training seed 0"


def test_the_store_is_known_without_composing(tmp_path) -> None:
    assert store_of(["seed=0"]) == tmp_path / "outputs/store"
    assert store_of(["store=a", "store=b"]) == tmp_path / "b"
    (run, _) = tiny(tmp_path, "store=mine")
    assert store_of(run.overrides) == tmp_path / run.config.store


def test_overrides_that_cannot_be_are_told_with_their_condition(tmp_path) -> None:
    with pytest.raises(ConfigurationError, match=r"points, ode, training seed 0: .*traner"):
        assert tiny(tmp_path, "traner.steps=2")[0].config
    with pytest.raises(ConfigurationError, match="a condition is one run"):
        assert tiny(tmp_path, "trainer.learning_rate=1,2")[0].config


def test_what_would_stop_a_run_is_told_before_any_starts(tmp_path) -> None:
    plan = plan_of(tiny(tmp_path, "posterior.draws=5"), "genuq leaderboard")
    with pytest.raises(ConfigurationError, match=r"points/ode/seed_0: posterior.draws = 5"):
        require_sound(plan)
    sound = plan_of(tiny(tmp_path), "genuq leaderboard")
    require_sound(sound)
    assert len(sound.of_stage("train")) == 2


def test_no_saved_set(tmp_path) -> None:
    with pytest.raises(ArtefactError, match="holds no saved set"):
        saved_below(tmp_path)
    assert Condition("a", "b", 0).folder == "a/b/seed_0"
