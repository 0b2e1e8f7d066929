"""The configuration as a user meets it: every shipped choice composes, and whatever is mistyped is named."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import types
import typing
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from genuq.config import compose as overrides
from genuq.config import options
from genuq.config import schemas as configuration
from genuq.config.compose import check_overrides, config_directory, configurations, require_one_job
from genuq.config.sweeps import sweep_of
from genuq.errors import ConfigurationError

CONF = config_directory()
GROUPS = sorted(folder.name for folder in CONF.iterdir() if folder.is_dir() and folder.name != "hydra")
CHOICES = [(group, file.stem) for group in GROUPS for file in sorted((CONF / group).glob("*.yaml"))]


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    configuration.register()


@pytest.fixture
def user_experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of conf/ in which a test may write experiments; returns the folder for them."""
    for file in CONF.rglob("*.yaml"):
        copy = tmp_path / "conf" / file.relative_to(CONF)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(file.read_text())
    monkeypatch.setattr(overrides, "config_directory", lambda: tmp_path / "conf")
    return tmp_path / "conf" / "experiment"


def test_the_groups_are_those_that_the_documentation_lists() -> None:
    listed = (
        "data model network sampler posterior likelihood score metric propagator application trainer logger scale "
        "experiment"
    )
    assert sorted(listed.split()) == GROUPS


OPTIONS = {group: [option for of, option in CHOICES if of == group] for group in GROUPS}
JOBS = [  # the i-th option of every group together, and every experiment: each option is composed at least once
    [f"{group}={options[i % len(options)]}" for group, options in OPTIONS.items() if group != "experiment"]
    for i in range(max(map(len, OPTIONS.values())))
] + [[f"experiment={option}"] for option in OPTIONS["experiment"]]


@functools.cache
def shipped(number: int) -> DictConfig:
    """The configuration of one of these jobs, checked."""
    job = JOBS[number]
    needed = {
        "data=image_folder": "data.root=images",
        "data=imagenet": "data.root=images",
        "model=diffusers": "model.pretrained=folder",
    }
    ((_, config),) = configurations([*job, *(text for choice, text in needed.items() if choice in job)])
    return config


@pytest.mark.parametrize("number", range(len(JOBS)), ids=lambda number: JOBS[number][0])
def test_every_shipped_choice_composes_and_passes_the_check(number: int) -> None:
    """And the configuration has the part that each choice's file names."""
    for group, option in (text.split("=") for text in JOBS[number] if not text.startswith("experiment")):
        written = yaml.safe_load((CONF / group / f"{option}.yaml").read_text())
        name = written.get(group, written).get("name")  # a file for several groups keeps each one's keys apart
        assert name is None or shipped(number)[group].name == name
        assert (shipped(number)[group] is None) == (option == "none" and group != "logger")
    assert shipped(number).stages


@pytest.mark.parametrize("group", ["sampler", "posterior", "network", "score", "propagator", "application"])
def test_an_option_is_named_after_what_it_builds(group: str) -> None:
    """`genuq sampler=heun` builds heun; a second option of the same kind begins with its name (unet_latent)."""
    built = {
        option: str(shipped(number)[group].name) for number, option in enumerate(OPTIONS[group]) if option != "none"
    }
    assert all(option.startswith(name) for option, name in built.items())
    assert set(built.values()) == set(options.GROUPS[group].register or ())


def untyped(schema: type, prefix: str = "") -> list[str]:
    """Keys of a schema whose type is Any, or a container of it."""
    found = []
    for name, kind in typing.get_type_hints(schema).items():
        inner = [part for part in typing.get_args(kind) or (kind,) if part is not types.NoneType]
        if any(part is Any for part in inner):
            found.append(prefix + name)
        for part in inner:
            if dataclasses.is_dataclass(part):
                found += untyped(part, f"{prefix}{name}.")
    return found


def test_every_key_has_a_type_except_the_options_of_foreign_code() -> None:
    groups = {*options.GROUPS, "model", "beside", "parts", "scale.lower", "scale.rules"}
    assert {key for key in untyped(configuration.Config) if key not in groups} == set()
    for group in options.GROUPS:
        for name in options.names_of(group):
            kinds = {key: kind for key, (kind, _) in options.keys_of(group, name).items()}
            free = {key for key, kind in kinds.items() if kind is Any or Any in typing.get_args(kind)}
            assert free <= {"options", "starve", "checkpoints"}  # what they may hold is checked by their bounds


def recipe(name: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=[f"experiment={name}"])


def test_the_quickstart_is_where_truth_is_exact_and_as_large_as_promised() -> None:
    chosen = recipe("quickstart")
    assert chosen.sampler.samples >= 1024 and chosen.metric.truth == "oracle" and list(chosen.metric.bad) == ["broken"]
    assert {"random", "complexity"} <= set(chosen.score.controls) and {"lid", "entropy"} <= set(chosen.score.also)
    assert "train" not in chosen.stages and chosen.model.checkpoint == chosen.posterior.checkpoints == "reference"


def test_the_judged_run_is_as_large_as_promised() -> None:
    chosen = recipe("fashion_mnist")
    assert chosen.sampler.samples >= 512 and chosen.posterior.draws >= 5
    assert chosen.likelihood.extractor == "efficientnet" and chosen.metric.extractor == "classifier"
    assert {"random", "complexity", "direct_noise", "jitter"} <= set(chosen.score.controls)
    assert "train" not in chosen.stages and chosen.model.checkpoint == "reference"


MISTAKES = [
    (["sampler.stpes=3"], "'sampler.stpes' is not a key", "Did you mean 'steps'"),
    (["network=mlp", "network.depht=3"], "'network.depht' is not a key", "Did you mean 'depth'"),
    (["model=latent_diffusion", "model.autoencoder.nam=vae"], "'model.autoencoder.nam'", "Did you mean 'name'"),
    (["posteror=exact_laplace"], "'posteror' is not a key", "Did you mean 'posterior'"),
    (["posterior=diagonal_laplce"], "posterior=diagonal_laplce", "Did you mean 'diagonal_laplace'"),
    (["+stage=[fit]"], "'stage' is not a key", "Did you mean 'stages'"),
    (["++sampler.step=3"], "'sampler.step' is not a key", "Did you mean 'steps'"),
    (["sampler.steps=many"], "sampler.steps", "could not be converted to Integer"),
    (["stages=fit"], "stages", "A list is written [a,b]"),
    (["seed=null"], "seed", "not Optional"),
    (["experiment=quickstart", "propagator=null"], "propagator=null", "write propagator=none"),
    (["study=null", "application=null"], "application=null", "write application=none"),
    (["experiment=null"], "experiment=null", "write experiment=none"),
    (["posterior=null"], "posterior=null", "Known: deep_ensemble"),
    (["-m", "posterior=null,kfac"], "posterior=null", "Known: deep_ensemble"),
    (["~posterior"], "~posterior", "Known: deep_ensemble"),
    (["+posterior@beside.a=null"], "+posterior@beside.a=null", "leave it out"),
    (["propagator=none", "propagator.share=0.2"], "'propagator.share' is not a key of 'none'", "`share` belongs to"),
    (["application.per_class=true"], "'application.per_class' is not a key of 'none'", "belongs to filter"),
    (["propagator=none", "propagator.shar=0.2"], "'propagator.shar' is not a key", "configuration"),
    (["~beside"], "'beside' was deleted", "beside=null"),
    (["posterior.rank=3"], "'posterior.rank' is not a key of 'kfac'", "belongs to posthoc_ensemble and swag"),
    (
        ["+posterior@beside.a=kfac", "beside.a.match=b"],
        "'beside.a.match'",
        "to isotropic and isotropic_network",
    ),
    (["sampler.eta=0.5"], "'sampler.eta' is not a key of 'euler'", "`eta` belongs to ddim"),
    (
        ["data.modes=8"],
        "'data.modes' is not a key of 'fashion_mnist'",
        "belongs to lattice_mixture and gaussian_mixture",
    ),
    (["score.renoisings=9"], "'score.renoisings' is read by no column", "score.also=[aleatoric]"),
    (["name=???"], "name must be given", "add name="),
    (["sampler"], "sampler", "group.key=value"),
]


@pytest.mark.parametrize(("texts", "named", "remedy"), MISTAKES, ids=[" ".join(texts) for texts, *_ in MISTAKES])
def test_a_mistake_is_named_with_its_remedy(texts: list[str], named: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_overrides(texts)
    assert named in str(caught.value) and remedy in str(caught.value)


def test_options_of_an_extractor_may_be_added() -> None:
    ((_, config),) = configurations(["+likelihood.options.checkpoint=weights.safetensors"])
    assert config.likelihood.options.checkpoint == "weights.safetensors"


@pytest.mark.parametrize(
    "sweep",
    [["posterior=exact_laplace,diagonal_laplce"], ["seed=0,1,2", "sampler.stpes=2,3"], ["sampler.steps=8,many"]],
)
def test_a_sweep_is_refused_as_a_whole_when_one_job_is_wrong(sweep: list[str]) -> None:
    with pytest.raises(ConfigurationError):
        check_overrides(["-m", *sweep])


def test_a_sound_sweep_passes() -> None:
    sweep = ["-m", "posterior=exact_laplace,diagonal_laplace", "seed=range(0,2)", "sampler.steps=4,8"]
    found = [(config.posterior.name, config.seed, config.sampler.steps) for _, config in configurations(sweep)]
    assert found == list(itertools.product(["exact_laplace", "diagonal_laplace"], [0, 1], [4, 8]))


@pytest.mark.parametrize(
    ("content", "named", "remedy"),
    [
        ("sampler: {stpes: 50}", "'sampler.stpes'", "'steps'"),
        ("stagess: [fit]", "'stagess'", "'stages'"),
        ("sampler: {steps: many}", "sampler.steps", "Integer"),
    ],
)
def test_a_mistake_in_a_file_of_the_users_is_named(
    content: str, named: str, remedy: str, user_experiments: Path
) -> None:
    (user_experiments / "mine.yaml").write_text(f"# @package _global_\n{content}\n")
    with pytest.raises(ConfigurationError) as caught:
        check_overrides(["experiment=mine"])
    assert named in str(caught.value) and remedy in str(caught.value)


def test_a_glob_is_the_options_that_match() -> None:
    found = [job for job, _ in configurations(["-m", "posterior=glob(*laplace)"])]
    assert found == [(f"posterior={name}_laplace",) for name in ("diagonal", "exact", "subnetwork")]


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ("posterior.temperature=range(0.5,0.9,0.1)", "posterior.temperature=0.5,0.6,0.7,0.8"),
        ("posterior.temperature=range(0.1,0.4,0.1)", "posterior.temperature=0.1,0.2,0.3"),
        ("posterior.temperature=range(0.3,0,-0.1)", "posterior.temperature=0.3,0.2,0.1"),
        ("posterior.temperature=range(0,2,0.5)", "posterior.temperature=0.0,0.5,1.0,1.5"),
        ("posterior.temperature=range(0,100,0.5)", "9.5,..."),
        (
            "posterior.temperature=range(0.5,0.95,0.1)",
            "posterior.temperature=0.5,0.6,0.7,0.8,0.9",
        ),  # ends within a step
        ("posterior.temperature=range(0.3,-0.05,-0.1)", "posterior.temperature=0.3,0.2,0.1,0.0"),
        ("seed=range(0,5,2.0)", "seed=0,2,4"),  # a key of whole numbers takes no 2.0
    ],
)
def test_a_range_of_decimals_is_refused_with_the_list_to_type(text: str, listed: str) -> None:
    for refused in (check_overrides, sweep_of):
        with pytest.raises(ConfigurationError) as caught:
            refused(["-m", text])
        assert str(caught.value).endswith(listed)


def test_ranges_of_whole_numbers_stay() -> None:
    assert [job for job, _ in configurations(["-m", "seed=range(0,5,2)"])] == [("seed=0",), ("seed=2",), ("seed=4",)]


NULLABLE = [group for group in GROUPS if "none" in OPTIONS[group] and group != "logger"]


def test_a_group_that_chooses_nothing_by_default_has_a_word_for_it() -> None:
    written = yaml.safe_load((CONF / "config.yaml").read_text())["defaults"]
    defaults = dict(next(iter(entry.items())) for entry in written if isinstance(entry, dict))
    assert None not in defaults.values()  # no override can say null
    assert (
        NULLABLE
        == [group for group in GROUPS if defaults[group] == "none"]
        == ["application", "experiment", "propagator"]
    )


@pytest.mark.parametrize("group", NULLABLE)
def test_none_is_the_same_as_leaving_a_group_out(group: str) -> None:
    ((_, plain),) = configurations(["posterior=exact_laplace"])
    found = [
        configurations(["posterior=exact_laplace", *more])
        for more in (
            [f"{group}=none"],
            [f"~{group}"],
            ["-m", f"{group}=none"],
            [f"{group}={OPTIONS[group][0]}", f"{group}=none"],
        )
    ]
    assert [config for each in found for _, config in each] == [plain] * 4
    assert overrides.choices_of([f"{group}=none"]) == overrides.choices_of([])
    assert overrides.choices_of([])[group] is None


def test_none_leaves_out_what_an_experiment_has_set_for_the_option_that_it_chooses(user_experiments: Path) -> None:
    (user_experiments / "mine.yaml").write_text(
        "# @package _global_\ndefaults: [{override /propagator: corrected}, {override /application: filter}]\n"
        "propagator: {share: 0.2}\napplication: {fraction: 0.5}\n"
    )
    sweep = ["-m", "experiment=mine", "propagator=none,coherent", "application=none,filter", "propagator.reduce=mean"]
    found = [(config.propagator, config.application) for _, config in configurations(sweep)]
    assert [one and (one.name, one.share, one.reduce) for one, _ in found] == [None] * 2 + [
        ("coherent", 0.2, "mean")
    ] * 2
    assert [one and one.fraction for _, one in found] == [None, 0.5] * 2


def test_the_exact_mixture_is_compared_and_judged_as_points_unless_told_otherwise() -> None:
    chosen = overrides.choices_of(["model=exact_mixture", "data=mixture_d8"])
    assert [chosen[group] for group in ("likelihood", "metric")] == ["pixel", "oracle_points"]
    assert overrides.choices_of(["model=exact_mixture", "metric=points"])["metric"] == "points"


def test_several_values_are_a_sweep() -> None:
    require_one_job(["posterior=kfac", "stages=[fit,sample]"])
    with pytest.raises(ConfigurationError, match=r"posterior=kfac,swag: several values are a sweep: add -m"):
        require_one_job(["posterior=kfac,swag"])


def test_the_choices_of_a_job_are_those_of_its_experiment() -> None:
    found = overrides.choices_of(["experiment=mixture_d2", "posterior=deep_ensemble"])
    assert (found["data"], found["posterior"], found["experiment"]) == ("mixture_d2", "deep_ensemble", "mixture_d2")
    assert not any("hydra" in group for group in found)


@pytest.mark.parametrize(
    ("job", "posterior"),
    [
        ([], "kfac"),
        (["model=ddpm", "propagator=coherent"], "kfac"),
        *((["propagator=" + name], "exact_laplace") for name in ("trajectory", "corrected", "paper")),
        *(([f"application={name}"], "exact_laplace") for name in ("augment", "rectify")),  # by a propagator
        (["application=filter"], "kfac"),
        (["application=guide"], "kfac"),
        (["score=pixel_variance"], "exact_laplace"),  # which chooses a propagator
        (["propagator=trajectory", "posterior=diagonal_laplace"], "diagonal_laplace"),
        *(([f"model={name}"], "exact_laplace") for name in ("adm", "edm2", "uvit", "diffusers")),
        (["model=adm", "posterior=kfac"], "kfac"),
        (["experiment=glyphs"], "deep_ensemble"),
    ],
)
def test_the_default_posterior_is_over_all_layers_where_they_are_few(job: list[str], posterior: str) -> None:
    assert overrides.choices_of(job)["posterior"] == posterior


def test_a_model_of_ones_own_which_may_be_large_keeps_the_last_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models_of_mine.py").write_text("def made(width: int = 3):\n    return None\n")
    monkeypatch.syspath_prepend(tmp_path)
    own = ["model._target_=models_of_mine.made", "model.width=5"]
    for more, posterior in (([], "exact_laplace"), (["posterior=kfac"], "kfac")):
        ((_, config),) = configurations(overrides.prepared([*own, *more]))
        assert config.posterior.name == posterior and config.model.width == 5
