"""The probe's noises: antithetic, of the sample, and the same whoever is asked; and its levels on every path."""

from __future__ import annotations

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.scores import Probe
from support.watched_models import random_model


def probe_of(indices: list[int], process: str = "flow_matching", kind: str = "pixels") -> Probe:
    model = random_model(kind, process, "v_prediction")
    samples = torch.stack([torch.full(model.shape, 0.1 * index) for index in indices])
    return Probe(model, samples, indices, seed=3, classes_B=torch.tensor(indices) % 3)


def test_noises_come_in_pairs_and_belong_to_the_sample() -> None:
    many, one = probe_of([4, 0, 7]), probe_of([7])
    for k in (1, 5, 0, 2, 3, 4):
        assert torch.equal(many.noise(k)[2:], one.noise(k))
    assert torch.equal(many.noise(0), -many.noise(1)) and torch.equal(many.noise(4), -many.noise(5))
    assert len({float(many.noise(k)[0].abs().sum()) for k in (0, 2, 4)}) == 3


@pytest.mark.parametrize("process", ["flow_matching", "variance_preserving"])
def test_a_time_is_the_share_of_noise_on_every_path(process) -> None:
    probe = probe_of([1, 2], process)
    for t in (0.01, 0.3, 0.9):
        (level,) = probe.at([t], noisings=2)
        states = [probe.state(part) for part in probe.parts(level)]
        alpha, sigma = (float(path(states[0][1])) for path in (probe.model.process.alpha, probe.model.process.sigma))
        assert sigma / (alpha + sigma) == pytest.approx(t, rel=1e-9)
        for k, (x, _) in enumerate(states):
            torch.testing.assert_close(x, alpha * probe.latents + sigma * probe.noise(k))
    if process == "flow_matching":
        assert states[0][1] == pytest.approx(0.9, rel=1e-12)


def test_latents_are_encoded() -> None:
    probe = probe_of([1], kind="latents")
    assert probe.latents.shape[1:] == probe.model.latent_shape
    torch.testing.assert_close(probe.latents, torch.full_like(probe.latents, 0.2))


@pytest.mark.parametrize(("times", "noisings"), [((), 4), ((0.0,), 4), ((0.3, 1.0), 4), ((0.3,), 3), ((0.3,), 0)])
def test_levels_that_cannot_be_are_refused(times, noisings) -> None:
    with pytest.raises(ConfigurationError, match=r"between 0 and 1|come in pairs"):
        probe_of([0]).at(times, noisings)
