"""`scale=smoke` shrinks whatever was typed, once, and leaves full runs as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from genuq.config import schemas
from genuq.config.compose import configurations
from genuq.config.scales import shrunk
from genuq.config.sweeps import sweep_of
from genuq.errors import ConfigurationError
from genuq.pretrained.small import VERSION

STUDY = ["data=image_folder", "data.root=/imagenet", "data.image_size=128", "sampler.samples=12032", "sampler.steps=50"]
ADM = ["model=adm", "model.checkpoint=/128x128_diffusion.pt", *STUDY]

PAPERS = ("as_released", "corrected")


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    schemas.register()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(autouse=True)
def in_store(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is small is made once for all tests."""
    monkeypatch.setitem(globals(), "STORE", store)


STORE = Path()


def composed(*overrides: str) -> Any:
    ((_, config),) = configurations([f"store={STORE}", *overrides])
    return config


def plain(*overrides: str) -> dict[str, Any]:
    found: Any = OmegaConf.to_container(composed(*overrides), resolve=True)
    return found


def test_what_was_typed_is_shrunk_and_the_run_says_so() -> None:
    full, small = plain(*ADM), plain(*ADM, "scale=smoke")
    assert full["scale"] == {"name": "full", "lower": {}, "rules": []}
    assert small["scale"] == {"name": "smoke", "lower": {}, "rules": []}
    assert small["name"] == f"{full['name']}@smoke"
    assert (small["sampler"]["samples"], small["sampler"]["steps"]) == (48, 4)
    assert small["model"]["checkpoint"] is None and small["model"]["preset"] == "imagenet_128"
    assert Path(small["data"]["root"]) == STORE / "small" / f"images-{VERSION}" and Path(small["data"]["root"]).is_dir()


def test_what_is_smaller_stays() -> None:
    assert composed(*ADM, "sampler.steps=2", "scale=smoke").sampler.steps == 2
    assert composed(*ADM, "posterior.draws=7", "scale=smoke").posterior.draws == 2


def test_a_number_is_lowered_where_the_option_has_one() -> None:
    released, corrected = (composed(*ADM, f"experiment=papers_{name}", "scale=smoke").propagator for name in PAPERS)
    assert (released.states, corrected.states) == (3, "carried")
    assert released.map_draws == corrected.map_draws == 4


def test_every_posterior_beside_is_shrunk_too() -> None:
    config = composed(*ADM, "+posterior@beside.other=kfac", "scale=smoke")
    assert config.beside.other.images == config.posterior.images == 32


def test_weights_that_a_run_would_fetch_are_replaced_by_packaged_ones() -> None:
    config = composed(*ADM, "likelihood=clip", "metric=inception", "scale=smoke")
    assert (config.likelihood.extractor, config.metric.extractor) == ("efficientnet", "pixels")


@pytest.mark.parametrize(
    ("model", "typed"),
    [
        ("adm", ["model.classifier=/c.pt", "sampler.guidance_scale=2"]),
        ("uvit", ["model.preset=imagenet_512_huge", "model.autoencoder=/vae", "sampler.guidance_scale=1.7"]),
        ("edm2", ["model.preset=imagenet_512_xxl", "model.autoencoder=/vae"]),
    ],
)
def test_each_released_network_keeps_its_kind_and_loses_its_files(model: str, typed: list[str]) -> None:
    config = composed(f"model={model}", "model.checkpoint=/weights", *typed, *STUDY, "scale=smoke")
    assert config.model.name == model and config.data.name == "image_folder"
    assert config.model.get("checkpoint") is config.model.get("classifier") is None
    latent = config.model.get("autoencoder")
    assert latent is None or Path(latent) == STORE / "small" / f"autoencoder-{VERSION}"


def test_a_rule_is_for_what_was_asked_for_and_not_for_what_an_earlier_one_has_set() -> None:
    text = ["model=diffusers", "data=image_folder", "data.root=/coco", "scale=smoke"]
    plainly = composed(*text, "model.pretrained=weights/stable_diffusion_1_5")
    flow = composed(*text, "model.pretrained=weights/stable_diffusion_3_medium")
    assert [Path(each.model.pretrained).name for each in (plainly, flow)] == [
        f"stable_diffusion-{VERSION}",
        f"stable_diffusion_3-{VERSION}",
    ]


def test_shrinking_again_changes_nothing() -> None:
    config = composed(*ADM, "scale=smoke")
    before = OmegaConf.to_yaml(config)
    assert OmegaConf.to_yaml(shrunk(config)) == before


def test_a_key_that_no_full_run_reads_is_refused_at_smoke_too() -> None:
    for typed in ("data.rot=/x", "model.checkpont=/x"):
        with pytest.raises(ConfigurationError, match="is not a key"):
            composed(*ADM, typed, "scale=smoke")
    composed(*ADM, "data.resize=adm", "scale=smoke")  # read at full scale


def test_sweeps_of_two_scales_lie_apart() -> None:
    full, small = (sweep_of(["-m", "study=table", "seed=0,1", *scale]) for scale in ([], ["scale=smoke"]))
    assert full is not None and small is not None
    assert (full.name, small.name) == ("table", "table@smoke")


def test_a_scale_of_ones_own_names_itself_and_its_rules_are_checked() -> None:
    with pytest.raises(ConfigurationError, match=r"scale.name = 'full' is to mark"):
        composed(*ADM, "scale=smoke", "scale.name=full")
    with pytest.raises(ConfigurationError, match=r"scale.rules\[0\] = .*give `set`"):
        composed(*ADM, "scale.name=tiny", "scale.rules=[{when: {seed: 0}}]")
    config = composed(*ADM, "scale.name=tiny", "scale.rules=[{set: {sampler.steps: 3}}]")
    assert config.sampler.steps == 3 and config.name.endswith("@tiny")
