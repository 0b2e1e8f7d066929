"""A run imports what is slow to import only where it is needed: training, folders of images, drawing, compiling."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SLOW = (
    "lightning",
    "torchmetrics",
    "torchvision",
    "transformers",
    "matplotlib",
    "scipy.stats",
    "torch._dynamo",
    "timm",
)
COMMAND = (
    "experiment=mixture_exact",
    "stages=[fit,sample,probe,embed,score]",
    "sampler.samples=64",
    "sampler.steps=2",
    "posterior.images=512",
    "posterior.held_out=256",
    "metric.reference_images=64",
)


def test_samples_are_scored_without_what_is_slow_to_import(tmp_path: Path) -> None:
    program = f"""
import json, sys
from genuq.cli.main import subcommand
ended = subcommand("run", {list(COMMAND)!r})
print(json.dumps([ended, [name for name in {SLOW!r} if name in sys.modules]]))
"""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0, []]
