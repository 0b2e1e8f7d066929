"""Every option has the keys of its part and of what its group shares, and the values that runs have had."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import MissingMandatoryValue, OmegaConf
from omegaconf.errors import ValidationError

from genuq.config import options, schemas
from genuq.config.compose import config_directory
from genuq.config.options import GROUPS, MAY_BE_NONE, NONE, keys_of, names_of, node_of, owners, taken
from genuq.errors import ConfigurationError
from genuq.models import Sampler
from genuq.parts import register_of

# What each shipped option composed to before its schema was made of the library; of the first entry what all share.
KNOWN: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("composed.json").read_text())
SHARED = KNOWN.pop("")
OF_NO_RUN = {  # came later
    "parts": {},
    **{"scale.name": "full", "scale.lower": {}, "scale.rules": []},
    "sampler.clip_x0": False,
    "sampler.keep_path": False,
    "sampler.precision": "float32",
    "sampler.compile": False,
    **{f"sampler.{name}": None for name in ("rho", "sigma_min", "sigma_max")},
    "metric.curves": ["fid", "precision", "recall", "density", "coverage"],
    "metric.truth": "judge",
    "metric.bad": [],
    "metric.prompt_model": None,
    "metric.download": False,
    "metric.reference": None,
    **{"data.resize": "antialiased", "data.released": None, "data.released_every": 50},
    "data.starve": {},
    "trainer.early_step": None,
    "data.permute": True,
    "score.lmi_size": 0.02,
    "score.members": None,
    "score.probe_noisings": 4,
    "score.nested_pairs": 2,
    "score.maps": False,
    **{"score.budget": None, "score.stop": None, "score.tolerance": 0.1, "score.pilot": 64, "score.frontier": False},
    "score.weak_checkpoint": None,
    **{"propagator.faults": None, "score.entropy_faults": ["half_precision", "uncentred_variance"]},
    **{f"score.{name}_points": times for name, times in (("path", [1.0]), ("gap", [0.4, 0.6]))},
    "score.weak_points": [0.25, 0.5, 0.75],
    **{f"score.{name}_times": [0.1] for name in ("lid", "score_norm")},
    **{f"score.{name}_times": [0.3] for name in ("renoised", "null_gap")},
    **{f"score.{name}_times": [0.5] for name in ("self_confidence", "margin")},
    **{f"{key}.data_share": None for key in ("posterior", "beside.deep_ensemble", "beside.posthoc_ensemble")},
}
GROUPS_OF_OPTIONS = (*GROUPS, "beside")
DEFAULTS_BEFORE = {  # of all choices but those that name another, by how these begin
    "score=entropy": ("score=", "experiment=quickstart", "experiment=glyphs", "experiment=mixture"),
    "posterior=exact_laplace": ("posterior=", "experiment=finetune", "experiment=train_flow_matching_ensemble"),
}


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    schemas.register()


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


@pytest.mark.parametrize("chosen", KNOWN)
def test_a_shipped_option_composes_to_the_values_that_runs_have_had(chosen: str) -> None:
    with initialize_config_dir(str(config_directory()), version_base="1.3"):
        then = [default for default, named in DEFAULTS_BEFORE.items() if not chosen.startswith(named)]
        config: Any = OmegaConf.to_container(compose("config", overrides=[chosen, *then]))
    config |= {group: None for group in MAY_BE_NONE if config[group] == {"name": NONE}}  # as `settle` makes it
    found = dict(leaves(config))
    before = {key: value for key, value in (SHARED | KNOWN[chosen]).items() if value != "absent"}
    assert set(found) - set(before) <= set(OF_NO_RUN)
    if chosen == "data=image_folder":
        before["data.root"] = "???"  # it must be given, and said null
    assert {key: value for key, value in found.items() if key in before} == {
        key: value for key, value in before.items() if key in found
    }
    lost = {key for key in before if key not in found}
    assert all(key.split(".")[0] in GROUPS_OF_OPTIONS for key in lost)  # of another kind, see below


def test_an_option_has_the_options_of_its_part_and_no_other_kinds() -> None:
    for group, known in GROUPS.items():
        if known.register is None or group == "score":
            continue
        for name, part in known.register.items():
            own = set(keys_of(group, name))
            assert part.source == "weights" if group == "posterior" and not set(part.option_names) <= own else True
    assert owners("posterior", "rank") == ["posthoc_ensemble", "swag"]
    assert owners("posterior", "match") == ["isotropic", "isotropic_network"]
    assert owners("posterior", "time_bins") == ["isotropic", "diagonal_laplace", "exact_laplace"]
    assert owners("sampler", "eta") == ["ddim", "scheduler"] and owners("data", "modes") == [
        "lattice_mixture",
        "gaussian_mixture",
    ]
    assert owners("likelihood", "extractor") == ["semantic"] and owners("logger", "mode") == ["wandb"]


def test_every_option_of_a_score_is_a_key_and_says_its_own_default() -> None:
    node = node_of("score", "score")
    for score in register_of("score").values():
        if score.source == "propagation":
            continue
        for option, entry in score.options.__dataclass_fields__.items():
            default = options.made(entry) if entry.default is dataclasses.MISSING else entry.default
            assert node[score.key_of(option)] in (None, default)


def test_only_what_differs_from_the_library_stands_in_a_file() -> None:
    for group in GROUPS:
        for path in sorted((config_directory() / group).glob("*.yaml")):
            content: Any = OmegaConf.to_container(OmegaConf.load(path))
            schema = str(content["defaults"][0]).partition("@")[0].removeprefix("schema_")
            if schema in names_of(group):
                default = OmegaConf.to_container(node_of(group, schema))
                values = content.get(group, content)
                assert isinstance(default, dict)
                repeated = {key for key, value in values.items() if key in default and default[key] == value}
                assert not repeated, f"{path}: {repeated}"


@dataclass
class Shared:
    """Three options, of which one must be given."""

    count: int
    rate: float = 0.5
    names: list[str] = dataclasses.field(default_factory=lambda: ["x"])


def test_options_of_a_dataclass_are_taken_by_name_or_all_but_some() -> None:
    assert list(taken(Shared)) == ["count", "rate", "names"] and list(taken(Shared, "rate")) == ["rate"]
    assert list(taken(Shared, without=["rate"])) == ["count", "names"]
    assert list(options.renamed(taken(Shared, "rate"), "map_")) == ["map_rate"]
    kind, default = options.optional(taken(Shared, "rate"))["rate"]
    assert kind == float | None and default.default is None


def test_fields_of_two_configurations_share_nothing() -> None:
    entry = taken(Shared, "names")["names"][1]
    first, second = (options.field_of(entry).default_factory() for _ in range(2))
    first.append("y")
    assert second == ["x"] and options.same(entry, taken(Shared, "names")["names"][1])
    assert options.field_of(taken(Shared)["count"][1]).default == "???"


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_has_the_keys_of_its_part_and_its_name(group: str) -> None:
    known = GROUPS[group]
    for name in names_of(group):
        node: Any = node_of(group, name)
        assert list(node) == list(keys_of(group, name))
        if known.parts is not None and group != "score":
            assert node.name == name
            own = register_of(known.parts)[name].option_names if name != NONE and group != "posterior" else ()
            assert set(own) <= set(node)


def test_defaults_are_the_librarys() -> None:
    node, sampler = node_of("sampler", "heun"), Sampler()
    for key in ("steps", "spacing", "guidance_scale", "batch_size"):
        assert node[key] == getattr(sampler, key)


def test_values_are_typed_and_what_must_be_given_is_missing() -> None:
    node = node_of("sampler", "heun")
    with pytest.raises(ValidationError):
        node.steps = "many"
    count = ("count", int, options.field_of(taken(Shared)["count"][1]))
    made = OmegaConf.structured(dataclasses.make_dataclass("Made", [count]))
    with pytest.raises(MissingMandatoryValue):
        _ = made.count


def test_who_has_a_key_and_who_is_not_there() -> None:
    assert "rank" in keys_of("posterior", "swag") and "swag" in owners("posterior", "rank")
    assert "exact_laplace" not in owners("posterior", "rank") and owners("sampler", "zeal") == []
    with pytest.raises(ConfigurationError, match=r"posterior\.name.*Did you mean 'swag'"):
        keys_of("posterior", "swga")
