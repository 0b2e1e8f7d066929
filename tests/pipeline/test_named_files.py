"""Files that a configuration names are looked at first: that they are there, and what they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genuq.errors import CheckpointError, ConfigurationError
from genuq.pipeline.named_files import check_named_files, check_store
from genuq.pipeline.run import Run
from support.small_runs import POINTS, composed


def run(folder: Path, *overrides: str) -> Run:
    return Run(composed(*POINTS, f"store={folder}/store", *overrides), folder, "genuq")


@pytest.mark.parametrize("stages", ["[train]", "[report]", "[fit,sample]"])
@pytest.mark.parametrize("key", ["trainer.start_from", "model.checkpoint"])
def test_a_checkpoint_that_is_not_there_is_named_whether_or_not_it_is_read(
    key: str, stages: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{key}: .*nowhere\.safetensors does not exist\. Correct the path"):
        check_named_files(run(tmp_path, f"stages={stages}", f"{key}={tmp_path}/nowhere.safetensors"))


@pytest.mark.parametrize("key", ["trainer.start_from", "model.checkpoint"])
def test_a_name_that_no_file_can_have_is_of_a_file_that_is_not_there(key: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{key}: .*bbb does not exist"):
        check_named_files(run(tmp_path, f"{key}={'b' * 300}"))
    beside = ["+posterior@beside.others=deep_ensemble", f"beside.others.checkpoints={'b' * 300}"]
    with pytest.raises(ConfigurationError, match=r"^beside\.others\.checkpoints = '.*' matches no file"):
        check_named_files(run(tmp_path, *beside))


def test_members_that_are_not_there_are_named_where_they_stand(tmp_path: Path) -> None:
    beside = ["+posterior@beside.others=deep_ensemble", f"beside.others.checkpoints={tmp_path}/*.safetensors"]
    with pytest.raises(ConfigurationError, match=r"^beside\.others\.checkpoints = '.*' matches no file"):
        check_named_files(run(tmp_path, *beside))


def test_files_of_others_are_called_what_they_are(tmp_path: Path) -> None:
    weights = {"layer.weight": torch.zeros(2)}
    torch.save({"state_dict": weights, "pytorch-lightning_version": "2.5"}, tmp_path / "last.ckpt")
    torch.save(weights, tmp_path / "plain.pt")
    torch.save(weights, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "cut.ckpt").write_bytes((tmp_path / "last.ckpt").read_bytes()[:300])
    (tmp_path / "empty.safetensors").touch()
    (tmp_path / "folder").mkdir()
    for name, said in {
        "last.ckpt": "is a checkpoint of Lightning",
        "plain.pt": r"is an archive of torch\.save",
        "old.pth": "is a pickle",
        "cut.ckpt": "is a zip archive, which is truncated",
        "empty.safetensors": "is truncated, or no safetensors file",
        "folder": "is a folder, not a file of weights",
    }.items():
        with pytest.raises((CheckpointError, ConfigurationError)) as caught:
            check_named_files(run(tmp_path, f"model.checkpoint={tmp_path / name}"))
        message = str(caught.value)
        assert message.startswith(f"model.checkpoint = {tmp_path / name} {said.replace(chr(92), '')}"), message
        assert "model._target_=" in message and "weights_only=True" in message


def test_a_pipeline_is_pointed_to_its_key(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(ConfigurationError, match=r"is a pipeline of diffusers.*model=diffusers model\.pretrained="):
        check_named_files(run(tmp_path, f"model.checkpoint={tmp_path}"))


def test_weights_for_a_function_that_takes_none_are_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"model\.checkpoint: .*none\.safetensors does not exist"):
        check_named_files(run(tmp_path, "experiment=mixture_exact", f"model.checkpoint={tmp_path}/none.safetensors"))


def test_the_folder_of_a_run_points_to_its_checkpoint(points_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"is a folder, not a file of weights\. Give .*model\.safetensors\.$"):
        check_named_files(run(tmp_path, f"model.checkpoint={points_run / 'train'}"))


def test_a_store_that_cannot_be_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_store(run(tmp_path / "new" / "deep"))
    (tmp_path / "store").write_text("a file")
    for wrong in (run(tmp_path), run(tmp_path / "store" / "below")):
        with pytest.raises(ConfigurationError, match=r"^store = .*: .*store is no folder\. Choose another place"):
            check_store(wrong)
    long = tmp_path / ("s" * 300)  # the file system's own limit, of which os.access knows nothing
    with pytest.raises(ConfigurationError, match=r"^store = .* cannot be written"):
        check_store(run(long))
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(ConfigurationError, match=r"^store = .* cannot be written"):
        check_store(run(tmp_path / "elsewhere"))
