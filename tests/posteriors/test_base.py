import pytest
import torch
from torch import nn

from genuq import files
from genuq.errors import ArtefactError
from genuq.posteriors import DiagonalLaplace, ExactLastLayerLaplace, IsotropicNoise, Scale

SCALE = Scale(n_effective=1 / 3, observation_noise=0.1, prior_precision=0.7, temperature=1.3)
ACTIVE = torch.tensor([True, False, True])
KINDS = {
    "exact": lambda layer: ExactLastLayerLaplace(layer, ACTIVE),
    "diagonal": lambda layer: DiagonalLaplace(layer, ACTIVE),
    "diagonal Fisher": lambda layer: DiagonalLaplace(layer, ACTIVE, convention="empirical_fisher"),
    "isotropic": lambda layer: IsotropicNoise(layer, ACTIVE),
}


def head(seed=0, channels=2):
    torch.manual_seed(seed)
    return nn.Conv2d(channels, 3, 3, padding=1)


def fitted(kind, scale=SCALE):
    layer = head()
    posterior = KINDS[kind](layer)
    features = torch.randn(4, 2, 5, 5)
    posterior.update(features, layer(features))
    return posterior.finalise(scale) if scale else posterior


@pytest.mark.parametrize("kind", KINDS)
def test_a_posterior_comes_back_with_the_same_draws(kind, tmp_path):
    posterior, path = fitted(kind), tmp_path / "deep" / "posterior.safetensors"
    posterior.save(path, notes={"command": "genuq", "kind": "a note cannot change what the file is"})
    back = type(posterior).load(path, head())
    assert back.scale == SCALE and back.n_seen == 4 and back.options() == posterior.options()
    assert torch.equal(back.curvature, posterior.curvature) and torch.equal(back.active_O, ACTIVE)
    for index in (0, 5):
        first, second = posterior.draw(index, seed=1), back.draw(index, seed=1)
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert files.read_tensors(path)[1]["command"] == "genuq"


def test_sums_without_a_scale_come_back_and_go_on(tmp_path):
    posterior = fitted("exact", scale=None)
    posterior.save(tmp_path / "sums")
    back = ExactLastLayerLaplace.load(tmp_path / "sums", head())
    assert back.scale is None
    back.merge(posterior)
    assert back.n_seen == 8 and torch.equal(back.curvature, 2 * posterior.curvature)


@pytest.mark.parametrize("kept", [0, 7, 200, -1])
def test_a_truncated_file_is_refused(kept, tmp_path):
    path = tmp_path / "posterior"
    fitted("exact").save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ArtefactError, match="truncated"):
        ExactLastLayerLaplace.load(path, head())


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ArtefactError, match="does not exist"):
        ExactLastLayerLaplace.load(tmp_path / "nothing", head())


@pytest.mark.parametrize("layer", [head(seed=1), head(channels=4), nn.Linear(18, 2)])
def test_another_networks_head_is_refused(layer, tmp_path):
    fitted("exact").save(tmp_path / "posterior")
    with pytest.raises(ArtefactError, match="another network"):
        ExactLastLayerLaplace.load(tmp_path / "posterior", layer)


def test_another_kind_is_refused(tmp_path):
    fitted("exact").save(tmp_path / "posterior")
    with pytest.raises(ArtefactError, match="'exact_laplace', not 'diagonal_laplace'"):
        DiagonalLaplace.load(tmp_path / "posterior", head())


@pytest.mark.parametrize("metadata", [{}, {"format": "genuq-posterior-0", "kind": "exact_laplace"}])
def test_another_format_is_refused(metadata, tmp_path):
    files.write_tensors(tmp_path / "other", {"curvature": torch.zeros(1)}, metadata)
    with pytest.raises(ArtefactError, match="format"):
        ExactLastLayerLaplace.load(tmp_path / "other", head())


def test_a_crash_while_saving_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "posterior"
    fitted("exact").save(path)
    before = path.read_bytes()

    def crash(tensors, name, metadata):
        with open(name, "wb") as file:
            file.write(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", crash)
    with pytest.raises(OSError, match="no space"):
        fitted("exact", Scale(1, 1, 1)).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
