"""Each part beside an oracle that shares nothing with it, used through genuq's own functions."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from my_lab.discs_and_rings import drawn
from my_lab.leading_variance import leading_variance
from my_lab.low_frequencies import LowFrequencies, cosines
from my_lab.mixer import Mixer, PatchMixer
from my_lab.spectral import Spectral
from scipy.fft import dctn
from torch import nn

import genuq
from genuq import data, likelihoods, networks
from genuq.applications import APPLICATIONS, Judgement, Replicates
from genuq.errors import ConfigurationError, DataError
from genuq.parts import register_of
from genuq.posteriors import POSTERIORS, ExactLastLayerLaplace, LastLayerPosterior, Scale, build, load
from genuq.randomness import generator
from genuq.scores import functional

PARTS = {
    "posterior": "spectral",
    "score": "leading_variance",
    "likelihood": "low_frequencies",
    "network": "mixer",
    "data": "discs_and_rings",
    "application": "abstain",
}
SCALE = Scale(n_effective=500.0, observation_noise=0.3, prior_precision=2.0, temperature=1.5)


@pytest.mark.parametrize("group", PARTS)
def test_genuq_finds_it_without_a_word_of_its_own_changed(group: str) -> None:
    part = register_of(group).get(PARTS[group])
    assert part.distribution == "my-lab-genuq 0.1.0" and not part.builtin and part.resolve() and part.description


# The posterior


def heads() -> dict[str, tuple[nn.Module, torch.Tensor]]:
    """Layers with inputs for them: (B, ..., C) and (B, C, H, W)."""
    torch.manual_seed(0)
    return {
        "linear": (nn.Linear(5, 3), torch.randn(40, 5)),
        "tokens": (nn.Linear(5, 3, bias=False), torch.randn(10, 7, 5)),
        "convolution": (nn.Conv2d(2, 3, 3, padding=1), torch.randn(10, 2, 6, 6)),
    }


def seen(kind: type[LastLayerPosterior], name: str, **options: int) -> LastLayerPosterior:
    layer, features = heads()[name]
    posterior = kind(layer, torch.tensor([True, False, True]), **options)
    posterior.update(features[:4])
    posterior.update(features[4:])
    return posterior.finalise(SCALE)


def covariance(posterior: Spectral, rank: int) -> np.ndarray:
    """Of one channel, dense, by NumPy."""
    values, vectors = np.linalg.eigh(posterior.curvature.numpy())
    values[: max(len(values) - rank, 0)] = 0
    tau = SCALE.n_effective / posterior.n_seen / SCALE.temperature
    precision = tau / SCALE.observation_noise * (vectors * values) @ vectors.T
    return np.linalg.inv(precision + SCALE.prior_precision * np.eye(len(values)))


@pytest.mark.parametrize("name", ["linear", "tokens", "convolution"])
@pytest.mark.parametrize("rank", [1, 3])
def test_predictive_variance_and_draws_are_those_of_the_dense_covariance(name: str, rank: int) -> None:
    posterior, (_, features) = seen(Spectral, name, rank=rank), heads()[name]
    dense = torch.from_numpy(covariance(posterior, rank))
    factor = torch.linalg.cholesky(dense).T.contiguous()
    axis = posterior.head.channel_axis
    expected = posterior.head.project(features.double(), factor).square().sum(axis, keepdim=True)
    found = posterior.predictive_variance(features)
    for channel, active in enumerate([True, False, True]):
        torch.testing.assert_close(found.narrow(axis, channel, 1), expected * active, rtol=1e-9, atol=1e-12)
    identity = torch.eye(len(dense), dtype=torch.float64)
    root = posterior.deviation(identity)
    torch.testing.assert_close(root.T @ root, dense, rtol=1e-9, atol=1e-12)
    assert posterior.mean_variance() == pytest.approx(float(dense.trace()) / len(dense))


@pytest.mark.parametrize("name", ["linear", "tokens", "convolution"])
def test_with_all_eigenvectors_it_is_the_exact_posterior(name: str) -> None:
    whole, exact, (_, features) = seen(Spectral, name, rank=1000), seen(ExactLastLayerLaplace, name), heads()[name]
    torch.testing.assert_close(
        whole.predictive_variance(features), exact.predictive_variance(features.double()), rtol=1e-8, atol=1e-12
    )
    torch.testing.assert_close(whole.eigenvalues(), exact.eigenvalues(), rtol=1e-9, atol=1e-8)
    matrix = exact.covariance()
    assert whole.trace_against(matrix, 0.7) == pytest.approx(exact.trace_against(matrix, 0.7))


def test_a_lower_rank_is_wider_everywhere() -> None:
    features = heads()["convolution"][1]
    wide, narrow = (seen(Spectral, "convolution", rank=rank).predictive_variance(features) for rank in (2, 8))
    assert bool((wide >= narrow - 1e-12).all()) and float(wide.mean()) > float(narrow.mean())


def test_it_is_fitted_merged_saved_and_loaded(tmp_path) -> None:
    model, _ = toy()
    images, labels = torch.rand(60, 1, 8, 8) * 2 - 1, torch.arange(60) % 2
    fitted = genuq.fit(model, images, "spectral", labels=labels, images=40, held_out=20, rank=5).posterior
    fitted.save(tmp_path / "posterior.safetensors")
    again = load(tmp_path / "posterior.safetensors", model)
    assert isinstance(again, Spectral) and again.rank == 5 and again.draw(3).keys() == fitted.draw(3).keys()
    assert all(torch.equal(value, again.draw(3)[name]) for name, value in fitted.draw(3).items())
    one, two = build("spectral", model), build("spectral", model, rank=5)
    with pytest.raises(ConfigurationError, match="same kind, options"):
        one.merge(two)
    with pytest.raises(ConfigurationError, match=r"posterior\.rank = 0"):
        build("spectral", model, rank=0)
    assert POSTERIORS["spectral"].closed_form


# The score and the likelihood


def test_leading_variance_is_the_first_eigenvalue_of_the_covariance() -> None:
    torch.manual_seed(0)
    for draws, features in ((5, 3), (3, 12)):
        embeddings = torch.randn(6, draws, features)
        found = functional("leading_variance")(embeddings, 1.0)
        expected = [
            np.linalg.eigvalsh(np.cov(each, rowvar=False, bias=True))[-1] for each in embeddings.double().numpy()
        ]
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    assert float(leading_variance(torch.ones(1, 4, 2), 1.0)) == 0


def test_low_frequencies_are_those_of_scipys_transform() -> None:
    torch.manual_seed(0)
    images = torch.rand(4, 3, 8, 12)
    made = likelihoods.build("low_frequencies", (3, 8, 12), None, frequencies=5)
    expected = dctn(images.double().numpy(), axes=(2, 3), norm="ortho")[:, :, :5, :5].reshape(4, -1)
    np.testing.assert_allclose(made.embed(images).numpy(), expected, atol=1e-5)
    assert made.name == "low_frequencies:dct-5" and made.dimension == 75
    torch.testing.assert_close(cosines(9) @ cosines(9).T, torch.eye(9, dtype=torch.float64))
    with pytest.raises(ConfigurationError, match=r"likelihood\.frequencies = 9"):
        LowFrequencies((3, 8, 12), frequencies=9)


# The network


def toy() -> tuple[genuq.GenerativeModel, Mixer]:
    torch.manual_seed(0)
    network = networks.build("mixer", shape=(1, 8, 8), num_classes=2, width=16, depth=2)
    return genuq.GenerativeModel(network, (1, 8, 8), num_classes=2), network


def test_the_mixer_keeps_its_own_call_signature() -> None:
    model, network = toy()
    x, t, y = torch.randn(5, 1, 8, 8), torch.rand(5), torch.tensor([0, 1, 2, 0, 1])
    assert torch.equal(model(x, t, y), network.mixer(x, y, time=1000 * t)) and model.head_name == "mixer.pixels"
    assert torch.equal(model(x[2:3], t[2:3]), network(x[2:3], t[2:3], y[2:3]))
    with pytest.raises(TypeError):
        network.mixer(x, y, t)
    with pytest.raises(ConfigurationError, match=r"network\.patch = 3"):
        Mixer((1, 8, 8), patch=3)


def test_patches_come_back_where_they_were() -> None:
    """Without layers and with identities for both projections, the mixer returns its input."""
    mixer = PatchMixer((1, 8, 12), 0, patch=4, width=16, depth=0)
    for layer in (mixer.entry, mixer.pixels):
        nn.init.eye_(layer.weight)
        nn.init.zeros_(layer.bias)
    for layer in mixer.clock[::2]:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    images = torch.arange(2 * 96.0).reshape(2, 1, 8, 12)
    torch.testing.assert_close(mixer(images, time=torch.tensor([1.0, 900.0])), images)


def test_every_token_hears_of_every_other() -> None:
    model, _ = toy()
    x = torch.randn(1, 1, 8, 8, requires_grad=True)
    model(x, torch.tensor([0.5]), torch.tensor([1]))[0, 0, 0, 0].backward()
    assert bool((x.grad != 0).all())


# The data


def test_areas_are_those_of_discs_and_rings() -> None:
    images = drawn(torch.full((2, 2), 0.5), torch.full((2,), 0.25), torch.tensor([0, 1]), 64)
    areas = (images.double() / 255).mean((1, 2, 3))
    disc = np.pi * 0.25**2
    assert areas.tolist() == pytest.approx([disc, disc * 3 / 4], rel=0.01)
    assert int(images[0, 0, 32, 32]) == 255 and int(images[1, 0, 32, 32]) == 0 and int(images[:, 0, 0, 0].max()) == 0


def test_a_seed_and_a_split_say_which_images() -> None:
    first = data.load("discs_and_rings", size=20)
    assert first.shape == (1, 16, 16) and first.labels.tolist() == [0, 1] * 10 and first.num_classes == 2
    assert first.fingerprint == data.load("discs_and_rings", size=20).fingerprint
    assert first.fingerprint != data.load("discs_and_rings", "test", size=20).fingerprint
    with pytest.raises(DataError, match=r"data\.pixels = 4"):
        data.load("discs_and_rings", pixels=4)


# The application


def run_of(score: torch.Tensor, realism: torch.Tensor) -> SimpleNamespace:
    return SimpleNamespace(
        score=score,
        judgement=Judgement(torch.zeros(len(score), 2), {"realism": realism, "other": 1 - realism}),
        samples={"image": torch.arange(2.0 * len(score)).reshape(-1, 2)},
        replicates=Replicates(50, 0),
        seed=3,
        shown=lambda points: points,
    )


def test_what_is_shown_keeps_to_the_budget_on_the_half_that_chose() -> None:
    torch.manual_seed(0)
    score = torch.rand(400, dtype=torch.float64)
    good = (torch.rand(400) > score).double()  # an error is as probable as the score says
    part = APPLICATIONS.get("abstain")
    outcome, examples = part.run(run_of(score, good), part.settings_of({"budget": 0.2}))
    threshold, row = outcome.settings["threshold"], outcome.row("realism")
    order = torch.randperm(400, generator=generator(3, 0, "abstain"))
    calibration, test = order[:200], order[200:]
    kept = calibration[score[calibration] <= threshold]
    assert float((1 - good[kept]).mean()) <= 0.2
    wider = score[calibration].sort().values
    for higher in wider[wider > threshold].tolist():
        assert float((1 - good[calibration[score[calibration] <= higher]]).mean()) > 0.2
    shown = test[score[test] <= threshold]
    assert row.ours.value == pytest.approx(float(good[shown].mean()))
    assert row.control.value == pytest.approx(float(good[test].mean()))
    assert row.difference.low > 0 and outcome.settings["shown"] == len(shown) and row.n == 200
    assert set(examples["index"].tolist()) <= set(test.tolist())


def test_where_nothing_keeps_to_the_budget_nothing_is_shown() -> None:
    part = APPLICATIONS.get("abstain")
    outcome, _ = part.run(run_of(torch.arange(8.0), torch.zeros(8)), part.settings_of({}))
    assert outcome.settings["shown"] == 0 and not outcome.rows and outcome.sentence.startswith("No sample is shown")
    with pytest.raises(ConfigurationError, match=r"application\.measure = 'beauty'; the judge knows realism, other"):
        part.run(run_of(torch.arange(8.0), torch.zeros(8)), part.settings_of({"measure": "beauty"}))
    with pytest.raises(ConfigurationError, match=r"application\.budget = 1"):
        part.settings_of({"budget": 1.0})
