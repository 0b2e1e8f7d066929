import io
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from genuq import scores
from genuq.errors import ConfigurationError, DataError


@pytest.fixture
def images():
    return torch.randint(0, 256, (7, 3, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("parts", [[3, 4], [1] * 7, [6, 1]])
def test_keyed_controls_do_not_depend_on_the_batch(images, parts):
    indices = torch.tensor([4, 0, 9, 2, 100, 3, 7])
    noise = torch.randn(7, 3, 6, 5)

    def both(images, indices, noise):
        return (
            scores.random_score(indices, seed=5),
            scores.direct_noise(images, 3, 0.1, seed=5, indices=indices),
            scores.jitter_initial_noise(noise, seed=5, indices=indices, draw=2),
        )

    whole = both(images, indices, noise)
    split = [both(*part) for part in zip(images.split(parts), indices.split(parts), noise.split(parts), strict=True)]
    for number, expected in enumerate(whole):
        torch.testing.assert_close(torch.cat([part[number] for part in split]), expected, rtol=0, atol=1e-6)


def test_random_score_is_uniform_and_keyed_by_the_seed():
    values = scores.random_score(range(2000), seed=0)
    assert values.dtype == torch.float64 and len(values.unique()) == 2000
    assert values.min() >= 0 and values.max() < 1 and abs(float(values.mean()) - 0.5) < 4 / np.sqrt(12 * 2000)
    assert not torch.equal(values, scores.random_score(range(2000), seed=1))
    assert scores.random_score([], seed=0).shape == (0,)


def test_png_bytes_are_those_of_a_file_that_decodes_to_the_image(images):
    buffer = io.BytesIO()
    pixels = images[2].permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True, compress_level=9)
    np.testing.assert_array_equal(np.asarray(Image.open(buffer)), pixels)
    assert scores.complexity(images)["png_bytes"][2] == len(buffer.getvalue())


def test_complexity_orders_flat_smooth_and_noisy_images():
    ramp = torch.arange(32, dtype=torch.uint8).mul(8).expand(32, 32)
    noise = torch.randint(0, 256, (32, 32), dtype=torch.uint8)
    stack = torch.stack([torch.full((32, 32), 80, dtype=torch.uint8), ramp, noise])[:, None]
    measured = scores.complexity(stack)
    assert measured["high_frequency_energy"][0] == 0
    for values in measured.values():
        assert values.dtype == torch.float64 and (values.diff() > 0).all()
    assert measured["png_bytes"][2] > len(zlib.compress(noise.numpy().tobytes(), 9))


@pytest.mark.parametrize("frequency, share", [(4, 0.0), (7, 0.0), (9, 1.0), (16, 1.0)])
def test_high_frequency_energy_of_a_wave_is_all_or_nothing(frequency, share):
    wave = torch.cos(2 * torch.pi * frequency * torch.arange(32) / 32).expand(1, 1, 32, 32) / 2 + 0.5
    assert float(scores.high_frequency_energy(wave, cutoff=0.25)) == pytest.approx(share, abs=1e-9)


def test_high_frequency_energy_of_a_sum_is_the_share_of_variance():
    positions = torch.arange(64) / 64
    slow, fast = 0.3 * torch.cos(2 * torch.pi * 3 * positions), 0.1 * torch.sin(2 * torch.pi * 25 * positions)
    image = (0.5 + slow[:, None] + fast[None, :])[None, None]
    assert float(scores.high_frequency_energy(image)) == pytest.approx(0.01 / (0.09 + 0.01), rel=1e-6)


def test_direct_noise_has_the_given_deviation_and_stays_in_range():
    grey = torch.full((200, 1, 8, 8), 128, dtype=torch.uint8)
    noisy = scores.direct_noise(grey, draws=4, standard_deviation=0.05, seed=3, indices=range(200))
    assert noisy.shape == (200, 4, 1, 8, 8) and noisy.dtype == torch.float32
    assert float((noisy - 128 / 255).std()) == pytest.approx(0.05, rel=0.02)
    strong = scores.direct_noise(grey, draws=1, standard_deviation=5.0, seed=3, indices=range(200))
    assert float(strong.min()) == 0 and float(strong.max()) == 1


def test_more_draws_keep_the_first_ones(images):
    few = scores.direct_noise(images, 2, 0.1, seed=0, indices=range(7))
    many = scores.direct_noise(images, 5, 0.1, seed=0, indices=range(7))
    torch.testing.assert_close(many[:, :2], few, rtol=0, atol=0)
    assert not torch.equal(many[:, 2], many[:, 3])


def test_jitter_moves_by_its_relative_size_and_keeps_the_norm():
    noise = torch.randn(50, 3, 16, 16)
    moved = scores.jitter_initial_noise(noise, seed=0, indices=range(50), draw=1)
    norms = noise.flatten(1).norm(dim=1)
    torch.testing.assert_close(moved.flatten(1).norm(dim=1), norms)
    # A step of length 0.02 in a random direction of 768 dimensions is nearly tangent: renormalising hardly shortens it.
    torch.testing.assert_close(
        (moved - noise).flatten(1).norm(dim=1) / norms, torch.full((50,), 0.02), rtol=0.02, atol=0
    )
    other = scores.jitter_initial_noise(noise, seed=0, indices=range(50), draw=2)
    assert not torch.allclose(other, moved)


def test_bad_arguments_are_named(images):
    with pytest.raises(DataError, match="7 samples with 6 indices"):
        scores.direct_noise(images, 2, 0.1, seed=0, indices=range(6))
    with pytest.raises(ConfigurationError, match="standard_deviation > 0"):
        scores.direct_noise(images, 2, 0.0, seed=0, indices=range(7))
    with pytest.raises(ConfigurationError, match="relative_size > 0"):
        scores.jitter_initial_noise(torch.randn(1, 2), seed=0, indices=[0], draw=0, relative_size=0.0)
    with pytest.raises(DataError, match="uint8"):
        scores.complexity(images.float())
    with pytest.raises(ConfigurationError, match="cutoff"):
        scores.high_frequency_energy(images, cutoff=0.6)


def test_the_class_prior_is_the_mean_of_the_class():
    values, classes = torch.tensor([1.0, 2.0, 6.0, 4.0, 0.5]), torch.tensor([7, 2, 7, 2, 9])
    found = scores.class_prior(values, classes)
    assert found.dtype == torch.float64 and found.tolist() == [3.5, 3.0, 3.5, 3.0, 0.5]


def test_lmi_is_the_jitter_with_a_size_of_its_own():
    noise, key = torch.randn(3, 1, 4, 4), {"seed": 1, "indices": [0, 1, 2], "draw": 1}
    for size in (0.02, 0.3):
        found = scores.SCORES["lmi"].make(noise, **key, relative_size=size)
        assert torch.equal(found, scores.jitter_initial_noise(noise, **key, relative_size=size))
    assert scores.SCORES["lmi"].chosen({"lmi_size": 0.1, "jitter_size": 0.02}) == {"relative_size": 0.1}
