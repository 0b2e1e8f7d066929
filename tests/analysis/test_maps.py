"""Judged maps beside pairs counted one by one, planted maps, and controls that know nothing."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from genuq.analysis import Interval, Undefined
from genuq.analysis.maps import edge_map, judge_map, judge_maps, random_map
from genuq.data import glyphs
from genuq.errors import DataError

N, H, W = 6, 8, 10


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def planted() -> tuple[Tensor, Tensor, Tensor]:
    """(masks, wrong parts, part of each pixel): four quadrants, of which one to two hold wrong pixels."""
    part_HW = 2 * (torch.arange(H) >= H // 2)[:, None].long() + (torch.arange(W) >= W // 2)[None].long()
    parts_N4 = torch.zeros(N, 4, dtype=torch.bool)
    for n in range(N):
        parts_N4[n, n % 4] = parts_N4[n, (n * n) % 4] = True
    chosen = parts_N4[:, part_HW] & (torch.rand(N, H, W, generator=source()) < 0.4)
    return chosen, parts_N4, part_HW


def value(found: Interval | Undefined) -> float:
    assert isinstance(found, Interval) and found.low <= found.value <= found.high
    return found.value


def counted(values: list[float], wrong: list[bool]) -> float:
    bad = [v for v, w in zip(values, wrong) if w]
    good = [v for v, w in zip(values, wrong) if not w]
    return sum((b > g) + 0.5 * (b == g) for b, g in itertools.product(bad, good)) / (len(bad) * len(good))


def test_each_number_is_that_of_pairs_counted_one_by_one() -> None:
    mask_NHW, parts_N4, part_HW = planted()
    map_NHW = (10 * torch.rand(N, H, W, generator=source(1))).round()  # with ties
    found = judge_map(map_NHW, mask_NHW, parts_N4, part_HW, bootstrap=50)
    pixels, parts, tops = [], [], []
    for n in range(N):
        values, wrong = map_NHW[n].flatten().tolist(), mask_NHW[n].flatten().tolist()
        pixels.append(counted(values, wrong))
        means = [float(map_NHW[n][part_HW == p].mean()) for p in range(4)]
        parts.append(counted(means, parts_N4[n].tolist()))
        room, border = math.ceil(0.05 * H * W), sorted(values)[-math.ceil(0.05 * H * W)]
        above = [w for v, w in zip(values, wrong) if v > border]
        at = [w for v, w in zip(values, wrong) if v == border]
        tops.append((sum(above) + (room - len(above)) * sum(at) / len(at)) / room)
    assert value(found.pixels) == pytest.approx(sum(pixels) / N, rel=1e-12)
    assert value(found.parts) == pytest.approx(sum(parts) / N, rel=1e-12)
    assert value(found.top_share) == pytest.approx(sum(tops) / N, rel=1e-12)
    assert found.faulty == N


def test_a_map_of_the_truth_is_perfect_and_its_negative_always_wrong() -> None:
    mask_NHW, parts_N4, part_HW = planted()
    found = judge_maps({"truth": mask_NHW.double(), "not": -mask_NHW.double()}, mask_NHW, parts_N4, part_HW)
    truth, wrong = found["truth"], found["not"]
    assert [value(each) for each in (truth.pixels, truth.parts, truth.top_share)] == [1.0, 1.0, 1.0]
    assert [value(each) for each in (wrong.pixels, wrong.parts, wrong.top_share)] == [0.0, 0.0, 0.0]


def test_a_constant_map_is_chance_exactly_and_a_random_one_within_its_interval() -> None:
    mask_NHW, parts_N4, part_HW = planted()
    constant = judge_map(torch.full((N, H, W), 3.0), mask_NHW, parts_N4, part_HW)
    assert value(constant.pixels) == value(constant.parts) == 0.5
    assert value(constant.top_share) == pytest.approx(float(mask_NHW.double().mean()), rel=1e-12)
    many = torch.rand(400, H, W, generator=source(2)) < 0.2
    chance = judge_map(random_map((400, H, W), seed=3), many)
    assert isinstance(chance.pixels, Interval) and not chance.pixels.excludes(0.5)
    assert isinstance(chance.parts, Undefined)
    assert torch.equal(random_map((4, H, W), 3), random_map((4, H, W), 3))


def test_samples_without_fault_do_not_count() -> None:
    mask_NHW, parts_N4, part_HW = planted()
    map_NHW = torch.rand(N, H, W, generator=source(1))
    alone = judge_map(map_NHW, mask_NHW, parts_N4, part_HW)
    blank = torch.zeros(3, H, W, dtype=torch.bool)
    more = judge_map(
        torch.cat([map_NHW, torch.rand(3, H, W)]),
        torch.cat([mask_NHW, blank]),
        torch.cat([parts_N4, torch.zeros(3, 4, dtype=torch.bool)]),
        part_HW,
    )
    assert more == alone
    nothing = judge_map(map_NHW[:3], blank)
    assert nothing.faulty == 0 and isinstance(nothing.pixels, Undefined)


def test_edges_are_the_size_of_the_gradient() -> None:
    ramp = torch.arange(5.0)[None, None, :, None] * 3 + torch.arange(7.0)[None, None, None] * 4
    assert torch.allclose(edge_map(ramp), torch.full((1, 5, 7), 5.0, dtype=torch.float64))


def test_of_the_oracles_parts_the_map_of_its_mask_is_perfect() -> None:
    """A broken quadrant of a glyph image: part and pixels go together."""
    data = glyphs(size=8)
    images = data.batch(range(8))[0].clone()
    images[:, :, :10, 20:26] = 0.9 * torch.rand(8, 1, 10, 6, generator=source(4))  # above right
    assert data.oracle is not None and data.oracle.part_of is not None
    truth, part_HW = data.oracle.truth(images), data.oracle.part_of
    assert truth.mask is not None and truth.parts.any(1).all()
    for n in range(8):
        assert set(part_HW[truth.mask[n]].tolist()) <= set(torch.nonzero(truth.parts[n])[:, 0].tolist())
    assert value(judge_map(truth.mask.double(), truth.mask, truth.parts, part_HW).parts) == 1.0


def test_other_shapes_and_nan_are_refused() -> None:
    mask_NHW = planted()[0]
    with pytest.raises(DataError, match=r"map of \(6, 4, 4\) cannot be judged"):
        judge_map(torch.zeros(N, 4, 4), mask_NHW)
    with pytest.raises(DataError, match="NaN in some pixels"):
        judge_map(torch.full((N, H, W), float("nan")), mask_NHW)
