"""A network that no memory holds is refused before it is allocated."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.pipeline import sizes
from genuq.pipeline.configured import untrained_model
from genuq.pipeline.run import Run
from genuq.pipeline.sizes import bytes_of_network, check_size, memory
from support.small_runs import IMAGES, POINTS, composed


@pytest.mark.parametrize("model", [[], ["model=latent_diffusion"]])
def test_the_bytes_are_those_of_the_weights_and_no_random_number_is_used(
    model: list[str], image_root: Path, tmp_path: Path
) -> None:
    run = Run(composed(*IMAGES, f"data.root={image_root}", *model), tmp_path, "genuq")
    state = torch.random.get_rng_state()
    found = bytes_of_network(run)
    assert torch.equal(state, torch.random.get_rng_state())
    weights = untrained_model(run).network.parameters()
    assert found == sum(weight.numel() * weight.element_size() for weight in weights)


def test_a_network_larger_than_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = Run(composed(*POINTS, "network.width=65536", "network.depth=500"), tmp_path, "genuq")
    with pytest.raises(ConfigurationError, match=r"network\.width = 65536, network\.depth = 500: its weights"):
        check_size(wide)
    small = Run(composed(*POINTS), tmp_path, "genuq")
    check_size(small)
    monkeypatch.setattr(sizes, "memory", lambda: 1000)
    with pytest.raises(ConfigurationError, match="Choose a smaller network"):
        check_size(small)


def test_the_memory_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "LIMIT", tmp_path / "limit")
    whole = memory()
    for said, held in (("max", whole), ("4096\n", 4096), (str(2**60), whole)):
        (tmp_path / "limit").write_text(said)
        assert memory() == held
