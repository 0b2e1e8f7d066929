"""What late stages use is checked before the first one."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from genuq.config import schemas
from genuq.config.compose import configurations
from genuq.errors import ConfigurationError
from genuq.pipeline.preflight import check_settings
from genuq.pipeline.run import Run


def check(folder: Path, *overrides: str) -> None:
    schemas.register()
    base = (
        "experiment=mixture",
        "device=cpu",
        "stages=[train,fit,sample]",
        f"store={folder}",
        "posterior=exact_laplace",
    )
    ((_, config),) = configurations([*base, *overrides])
    OmegaConf.resolve(config)
    check_settings(Run(config, folder, "genuq"))


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (
            ["propagator=trajectory", "propagator.map_method=draw"],
            "propagator.map_method = 'draw'; choose draws",
        ),
        (["propagator=trajectory", "propagator.map_draws=1"], "propagator.map_draws = 1; at least 2"),
        (["propagator=trajectory", "propagator.reduce=max"], "propagator.reduce = 'max'; choose sum, mean, top"),
        (["propagator=trajectory", "propagator.share=0"], r"propagator.share = 0.0; it must lie in \(0, 1\]"),
        (["sampler.spacing=uniform"], "sampler.spacing: 'uniform' does not exist. Did you mean 'uniform_time'"),
        (["likelihood.batch_size=-1"], "likelihood.batch_size = -1; at least 1"),
        (["score.jitter_size=-1"], "score.jitter_size = -1.0; it must be finite and above 0"),
        (["score.noise_standard_deviation=nan"], "score.noise_standard_deviation = nan"),
    ],
)
def test_it_is_refused_with_its_key(overrides: list[str], named: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"^{named}"):
        check(tmp_path, *overrides)


def test_the_same_run_with_sound_values_passes(tmp_path: Path) -> None:
    check(tmp_path, "propagator=trajectory", "propagator.map_method=linear", "sampler.spacing=uniform_log_snr")
