"""The settings that change no number of a run, by their keys."""

from __future__ import annotations

from omegaconf import OmegaConf

from genuq.config import neutral
from genuq.config.compose import config_directory


def test_a_configuration_without_neutral_keys() -> None:
    settings = {"name": "x", "seed": 1, "logger": {"name": "csv"}, "trainer": {"devices": 2, "steps": 3}}
    assert neutral.without_neutral(settings) == {"seed": 1, "trainer": {"steps": 3}}
    assert neutral.without_neutral(settings["trainer"], "trainer.") == {"steps": 3}  # type: ignore[arg-type]
    assert neutral.is_neutral("hydra/launcher") and neutral.is_neutral("logger.mode")
    assert not neutral.is_neutral("loggers") and not neutral.is_neutral("trainer")


def test_the_configuration_leaves_neutral_keys_out_of_names() -> None:
    config = OmegaConf.load(config_directory() / "config.yaml")
    assert set(config.hydra.job.config.override_dirname.exclude_keys) == set(neutral.UNNAMED)
