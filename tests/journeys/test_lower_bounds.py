"""The least versions of the dependencies work: an environment of its own has them, and runs what touches them most."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.lower_bounds import PROJECT, ROOT, lowest

MEANINGFUL = (
    "tests/test_files.py",
    "tests/test_entries.py",
    "tests/extractors/test_weights.py",
    "tests/extractors/test_pretrained.py",  # timm and the hub
    "tests/models/test_autoencoder.py",  # diffusers
    "tests/models/test_checkpoints.py",
    "tests/models/test_sampling.py",
    "tests/training/test_trainer.py",  # Lightning
    "tests/posteriors/curvature/test_capture.py",
    "tests/metrics/test_reference.py",
    "tests/data/test_folder.py",  # Pillow and torchvision
    "tests/config/test_compose.py",  # Hydra
    "tests/report/run/test_plots.py",  # matplotlib
    "tests/report/drawing/test_document.py",  # Jinja
    "tests/store/test_artefact.py",  # file locks, and whole runs
)


def test_every_dependency_names_its_least_version() -> None:
    assert len(lowest(PROJECT["dependencies"])) == len(PROJECT["dependencies"])
    assert lowest(["torch>=2.6,<3", "a-b==0.1.0", "c>=2.5,!=2.6.2"]) == ["torch==2.6", "a-b==0.1.0", "c==2.5"]
    with pytest.raises(ValueError, match="six<2 has no least version"):
        lowest(["six<2"])


@pytest.mark.slow
def test_the_least_versions_work(tmp_path: Path) -> None:
    """Some gigabytes are downloaded. LOWEST=FOLDER uses, or makes, an environment that stays."""
    folder = Path(os.environ.get("LOWEST", tmp_path / "lowest"))
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    tools = [text for text in PROJECT["optional-dependencies"]["dev"] if text.startswith("pytest>")]
    wanted = lowest([*PROJECT["dependencies"], *tools])
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *wanted], check=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [str(python), "-m", "pytest", "-q", *MEANINGFUL]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
