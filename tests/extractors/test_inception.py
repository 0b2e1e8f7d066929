import urllib.request

import pytest
import torch
from cleanfid.inception_torchscript import InceptionV3W
from cleanfid.resize import build_resizer
from torch import Tensor, nn

from genuq import extractors, files
from genuq.errors import CheckpointError
from genuq.extractors import inception


class Layers(nn.Module):
    """Stands in for Inception's layers: some 2048 numbers that depend on every pixel and on their scale."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 512, 32, stride=128)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(self.conv(x), 2).flatten(1) + x.mean()


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = Layers()

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("inception") / inception.FILE
    torch.jit.script(Network()).save(str(path))
    return path


@pytest.fixture
def published(monkeypatch, weights):
    """The stand-in counts as what was published."""
    monkeypatch.setattr(inception, "SHA256", files.sha256(weights))


def test_same_numbers_as_clean_fid_around_the_same_network(weights, published):
    images = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8)
    clean = build_resizer("clean")
    resized = torch.stack(
        [torch.from_numpy(clean(image.permute(1, 2, 0).numpy())).permute(2, 0, 1) for image in images]
    )
    with torch.no_grad():
        expected = InceptionV3W(str(weights.parent), download=False)(resized)
    extractor = extractors.build("inception", checkpoint=weights)
    torch.testing.assert_close(extractor.extract(images), expected, rtol=1e-4, atol=1e-4)


def test_no_file_and_no_network_say_where_to_put_it(monkeypatch, tmp_path):
    def refuse(url, timeout):
        assert timeout <= 10
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(extractors.WeightsUnavailableError, match=r"Download https.*set `checkpoint`.*checkpoints"):
        extractors.build("inception")


def test_hub_folder_is_used_when_it_has_the_file(monkeypatch, tmp_path, weights, published):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / inception.FILE).write_bytes(weights.read_bytes())
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert extractors.CleanFidInception()(torch.rand(1, 1, 28, 28)).shape == (1, 2048)


def test_another_file_is_refused_and_no_program_from_elsewhere_is_run(monkeypatch, tmp_path, weights):
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("another program was opened"))
    wrong = tmp_path / "wrong.pt"
    wrong.write_bytes(b"not a network")
    for path in (wrong, weights):
        with pytest.raises(CheckpointError, match=r"is not the published Inception .* from elsewhere is not run"):
            extractors.build("inception", checkpoint=path)
    with pytest.raises(CheckpointError, match=r"absent\.pt .* does not exist"):
        extractors.build("inception", checkpoint=tmp_path / "absent.pt")
