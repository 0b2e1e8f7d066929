"""What processes agree on and add up: alone, and in a group of two that pytest has not started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from genuq.parallel import collectives
from genuq.parallel.collectives import agree, is_first_process, totals
from support.programs import finished, start


@pytest.mark.parametrize(("total", "processes"), [(10, 1), (10, 3), (2, 4), (0, 2)])
def test_shares_are_all_numbers_once(monkeypatch, total, processes):
    shares = [share_of(monkeypatch, rank, processes, total) for rank in range(processes)]
    assert sorted(number for share in shares for number in share) == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_what_is_done_is_left_out_of_the_share_that_did_it(monkeypatch):
    assert share_of(monkeypatch, 1, 3, 11) == [1, 4, 7, 10]
    assert share_of(monkeypatch, 1, 3, 11, done=2) == [7, 10]


def share_of(monkeypatch, rank, processes, total, done=0):
    monkeypatch.setattr(collectives, "rank_and_count", lambda: (rank, processes))
    return list(collectives.share(total, done))


def test_a_process_alone_is_the_first_and_agrees_with_itself():
    value = {"a": 1}
    assert is_first_process() and agree(value) is value and totals({"a": 1.5}) == {"a": 1.5}


GROUP = """
import json, sys
import torch.distributed as processes
from genuq.parallel.collectives import agree, gathered, totals
rank, folder = int(sys.argv[1]), sys.argv[2]
processes.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
print(json.dumps([agree(["of", rank]), totals({"a": 1.0 + rank, "b": 0.5}), gathered({f"of {rank}": rank})]))
processes.destroy_process_group()
"""


def test_two_processes_take_the_firsts_value_add_up_and_put_together(tmp_path: Path):
    both = [start(GROUP, str(rank), str(tmp_path)) for rank in range(2)]
    said = [json.loads(finished(process).stdout.splitlines()[-1]) for process in both]
    assert said == [[["of", 0], {"a": 3.0, "b": 1.0}, {"of 0": 0, "of 1": 1}]] * 2
