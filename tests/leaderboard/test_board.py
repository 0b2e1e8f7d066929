"""Boards as declared: what genuq ships, which runs they ask for, and what is wrong with a file that is wrong."""

import pytest

from genuq.errors import ConfigurationError
from genuq.leaderboard.board import NESTED, Comparison, read_board, shipped
from genuq.leaderboard.results import Condition
from support.made_board import BOARD, board, declare


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_board_is_sound(name) -> None:
    found = read_board(name)
    assert found.wanted and found.primary and set(found.nested) <= set(found.controls)


def test_both_boards_are_shipped() -> None:
    assert shipped() == ["full", "quick"]
    assert len(read_board("quick").wanted) == 2
    assert {one.condition.seed for one in read_board("full").wanted} == {0, 1, 2}


def test_a_condition_is_a_run(tmp_path) -> None:
    first, second = board(tmp_path).wanted
    assert first.condition == Condition("glyphs", "ode", 0) and second.condition.seed == 1
    assert first.overrides[0] == "experiment=glyphs"
    assert {"sampler=euler", "seed=0", "score.name=entropy", "score.also=[renoised_disagreement,lid]"} <= set(
        first.overrides
    )
    assert {"score.controls=[random,jitter]", "sampler.samples=100", "sampler.keep_path=true"} <= set(first.overrides)
    assert {"study=leaderboard-made", "name=glyphs-ode-0"} <= set(first.overrides)
    assert "seed=7" in second.overrides


def test_settings_go_from_the_general_to_the_particular(tmp_path) -> None:
    """Of two overrides of one key Hydra takes the last."""
    glyphs = {"settings": ["seed=2"], "seeds": {0: ["seed=4"]}}
    samplers = {"ode": {"settings": ["seed=3"]}}
    made = board(tmp_path, settings=["seed=1"], samplers=samplers, data={"glyphs": BOARD["data"]["glyphs"] | glyphs})
    assert [text for text in made.wanted[0].overrides if text.startswith("seed=")] == [
        f"seed={k}" for k in (1, 2, 3, 4)
    ]


def test_shipped_checkpoints_are_named_by_their_folder(tmp_path) -> None:
    seeds = {0: ["model.checkpoint={reference}/ddpm_fashion_mnist.safetensors"]}
    data = {"glyphs": BOARD["data"]["glyphs"] | {"seeds": seeds}}
    (text,) = [one for one in board(tmp_path, data=data).wanted[0].overrides if one.startswith("model.checkpoint")]
    assert text.endswith("genuq/reference/ddpm_fashion_mnist.safetensors") and "{" not in text


def test_scores_that_data_cannot_have_are_left_out(tmp_path) -> None:
    data = {"glyphs": BOARD["data"]["glyphs"] | {"without": ["jitter", "lid"]}}
    overrides = board(tmp_path, data=data).wanted[0].overrides
    assert "score.controls=[random]" in overrides and "score.also=[renoised_disagreement]" in overrides


def test_some_of_it(tmp_path) -> None:
    whole = board(tmp_path)
    assert [one.condition.seed for one in whole.only(seeds=[1]).wanted] == [1]
    assert whole.only(["glyphs"]).wanted == whole.wanted
    assert whole.command(Condition("glyphs", "ode", 1)) == "genuq leaderboard made --data glyphs --seeds 1"
    with pytest.raises(ConfigurationError, match=r"--data glyps: .* Did you mean 'glyphs'\?"):
        whole.only(["glyps"])
    with pytest.raises(ConfigurationError, match="--seeds 5"):
        whole.only(seeds=[5])


def test_a_comparison_is_under_the_first_sampler_unless_it_says_otherwise(tmp_path) -> None:
    first, nested, _ = board(tmp_path).primary
    assert first == Comparison("renoised_disagreement", "lid", "broken", "glyphs", "ode")
    assert nested.control == NESTED


GLYPHS = BOARD["data"]["glyphs"]
PRIMARY = BOARD["primary"][0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"title": None}, "title is missing; give text"),
        ({"extra": 1}, "'extra' is not a key of a leaderboard"),
        ({"samples": 1}, "samples = 1; give a whole number of samples"),
        ({"bootstrap": True}, "bootstrap = True"),
        ({"scores": ["entrop"]}, "'entrop' does not exist. Did you mean 'entropy'"),
        ({"controls": "lid"}, "controls = 'lid'; give a list"),
        ({"nested": ["complexity"]}, "nested: 'complexity' is none of the controls"),
        ({"directions": {"lid": "down"}}, "directions: lid = 'down'; give lower or higher"),
        ({"data": {"glyphs": GLYPHS | {"seeds": {}}}}, "data: glyphs: seeds = {}"),
        ({"data": {"glyphs": GLYPHS | {"seeds": {"a": []}}}}, "'a' is no training seed"),
        ({"data": {"glyphs": GLYPHS | {"samplers": ["sde"]}}}, "there is no sampler 'sde'"),
        ({"data": {"a/b": GLYPHS}}, "'a/b' names a folder"),
        ({"data": {"glyphs": GLYPHS | {"stting": []}}}, "'stting' is not a key of data: glyphs"),
        ({"data": {"glyphs": 3}}, "data: glyphs = 3"),
        ({"samplers": {"ode": {"settings": [1]}}}, r"samplers: ode: settings = \[1\]"),
        ({"data": {"glyphs": GLYPHS | {"without": ["entropy", "renoised_disagreement", "lid"]}}}, "no score is left"),
        ({"primary": [PRIMARY | {"score": "trace"}]}, "primary: there is no score 'trace' here"),
        ({"primary": [PRIMARY | {"control": "trace"}]}, "there is no control 'trace' here"),
        ({"primary": [PRIMARY | {"data": "shapes"}]}, "there is no data 'shapes' here"),
        ({"primary": [PRIMARY | {"sampler": "sde"}]}, "there is no sampler 'sde' here"),
        ({"primary": [{"score": "entropy"}]}, "has no control"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, changes, said) -> None:
    with pytest.raises(ConfigurationError, match=said) as error:
        board(tmp_path, **changes)
    assert "made.yaml" in str(error.value)


def test_no_such_board(tmp_path) -> None:
    with pytest.raises(ConfigurationError, match=r"no leaderboard 'quik'. Did you mean 'quick'\?"):
        read_board("quik")
    path = declare(tmp_path)
    path.write_text("a: [")
    with pytest.raises(ConfigurationError, match="is not YAML"):
        read_board(path)
    path.write_text("- a")
    with pytest.raises(ConfigurationError, match="it holds no keys"):
        read_board(path)
