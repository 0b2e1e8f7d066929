"""`genuq leaderboard`: makes what is missing, goes on where it was killed, and adds a score of the user's own."""

import csv
import shutil

import pytest

import genuq.cli.leaderboard as command
from genuq.cli.leaderboard import chosen_board, main, parser
from genuq.errors import ConfigurationError
from support import tiny_board


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A board that was made once, with its folder."""
    folder = tmp_path_factory.mktemp("board")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        tiny_board.declare(folder)
        (folder / "my_novel_scores.py").write_text(tiny_board.OWN)
        stopped, whole = [], command.run_job

        def killed(config, target, *others):
            """The second run is killed before it starts."""
            if stopped or "seed_1" in str(target):
                stopped.append(target)
                raise KeyboardInterrupt
            whole(config, target, *others)

        patch.setattr(command, "run_job", killed)
        with pytest.raises(KeyboardInterrupt):
            main(["tiny.yaml"])
        patch.setattr(command, "run_job", whole)
        started = []

        def noted(config, target, *others):
            started.append(target)
            whole(config, target, *others)

        patch.setattr(command, "run_job", noted)
        assert main(["tiny.yaml"]) == 0
        assert [str(target.name) for target in started] == ["seed_1"]  # the first was finished before
    return folder


@pytest.fixture
def there(made, monkeypatch):
    monkeypatch.chdir(made)
    return made


def rows(folder):
    with (folder / "table.csv").open() as file:
        return list(csv.DictReader(file))


def forbid_runs(monkeypatch) -> None:
    def run(*given):
        raise AssertionError("nothing was to be made")

    monkeypatch.setattr(command, "run_job", run)


def test_everything_is_written(there) -> None:
    out = there / "outputs/leaderboard/tiny"
    names = {path.name for path in out.iterdir()}
    assert {"index.html", "table.md", "table.tex", "table.csv", "runs", "sets"} <= names
    assert {row["seed"] for row in rows(out)} == {"", "0", "1"}
    assert {"entropy", "renoised_disagreement", "lid", "random"} <= {row["score"] for row in rows(out)}
    assert "Some of the samples are missing" not in (out / "table.md").read_text()


def test_a_second_call_makes_nothing(there, monkeypatch, capsys) -> None:
    forbid_runs(monkeypatch)
    monkeypatch.setattr(command, "save", lambda run: pytest.fail("the sets are there"))
    assert main(["tiny.yaml"]) == 0
    assert main(["tiny.yaml", "--dry-run"]) == 0
    assert "2 of 2 conditions are there" in capsys.readouterr().out


def test_a_score_of_ones_own_stands_in_the_table_with_interval_and_cost(there, monkeypatch) -> None:
    forbid_runs(monkeypatch)
    out = there / "own"
    source = str(there / "outputs/leaderboard/tiny/sets")
    assert main(["tiny.yaml", "--from", source, "--score", "my_novel_scores:novelty", "--out", str(out)]) == 0
    (own,) = [row for row in rows(out) if "novelty" in row["score"] and row["fault"] == "broken" and not row["seed"]]
    assert float(own["auroc_low"]) <= float(own["auroc"]) <= float(own["auroc_high"])
    assert float(own["evaluations"]) == 0 and float(own["seconds"]) > 0 and own["needs_posterior"] == "False"
    assert "ovelty" in (out / "index.html").read_text()


def test_sets_of_others_need_no_run_and_what_is_missing_is_told(there, monkeypatch) -> None:
    forbid_runs(monkeypatch)
    copy = there / "given"
    shutil.copytree(there / "outputs/leaderboard/tiny/sets/points/ode/seed_0", copy, dirs_exist_ok=True)
    out = there / "theirs"
    assert main(["tiny.yaml", "--from", str(copy), "--out", str(out)]) == 1
    assert "genuq leaderboard tiny --data points --seeds 1" in (out / "table.md").read_text()
    assert {row["seed"] for row in rows(out)} == {"", "0"}


def test_a_plan_before_anything_is_made(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    forbid_runs(monkeypatch)
    tiny_board.declare(tmp_path)
    assert main(["tiny.yaml", "--dry-run", "--seeds", "0"]) == 0
    said = capsys.readouterr().out
    assert "0 of 1 conditions are there" in said and "train" in said
    assert not (tmp_path / "outputs").exists()


def test_what_cannot_be_is_said_before_anything_is_made(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    forbid_runs(monkeypatch)
    tiny_board.declare(tmp_path)
    for arguments, said in (
        (["tiny.yaml", "--score", "no_such_module:score"], "no_such_module"),
        (["tiny.yaml", "--score", "jitter"], "--score jitter starts the sampler anew"),
        (["tiny.yaml", "--data", "point"], "Did you mean 'points'"),
        (["nothing"], "There is no leaderboard 'nothing'"),
        (["tiny.yaml", "--from", "nowhere"], "holds no saved set"),
        (["tiny.yaml", "--from", ".", "--dry-run"], "Leave one of them out"),
        (["full", "--quick"], "Give one of the two"),
    ):
        with pytest.raises(ConfigurationError if "saved set" not in said else ValueError, match=said):
            main(arguments)


def test_which_board() -> None:
    assert chosen_board(parser().parse_args(["--quick"])).name == "quick"
    assert chosen_board(parser().parse_args([])).name == "full"
