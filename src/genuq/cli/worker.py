"""A further process of a job, started by the first one."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from omegaconf import OmegaConf

from genuq import machine
from genuq.config.plugged import plug
from genuq.errors import GenuqError
from genuq.parallel import collectives
from genuq.parallel.workers import number
from genuq.pipeline import execute
from genuq.tracking.loggers import Loggers


def main() -> None:
    """A further process: works along on what standard input says, until the job ends or standard input does."""
    task = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_input, daemon=True).start()
    machine.prepare()
    try:
        config = OmegaConf.create(task["config"])
        plug(config.get("parts", {}))
        execute.execute(config, Path(task["folder"]), task["command"], tracker=Loggers())
    except GenuqError as error:
        sys.exit(f"error in process {number()}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def end_with_input() -> None:
    """End when the first process does; a shard that is being made is finished before."""
    while os.read(0, 1):  # not sys.stdin: its lock would be held while the interpreter ends
        pass
    collectives.end_this_process(soon=True)


if __name__ == "__main__":
    main()
