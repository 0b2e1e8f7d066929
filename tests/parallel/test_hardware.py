"""When there are several processes."""

from __future__ import annotations

import pytest

from genuq.parallel.hardware import Hardware


@pytest.mark.parametrize("options", [{"devices": 2}, {"devices": -1}, {"num_nodes": 2}, {"strategy": "ddp"}])
def test_several_processes_or_what_connects_them_are_several(options):
    assert Hardware(**options).several and not Hardware().several
    assert not Hardware(accelerator="cpu", precision="bf16-mixed", checkpoint_every=1).several
