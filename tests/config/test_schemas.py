"""Names of sweeps' folders."""

from __future__ import annotations

from genuq.config.schemas import folder_name


def test_folders_of_sweeps_are_short_distinct_and_keep_short_names() -> None:
    assert folder_name("posterior=isotropic,seed=1") == "posterior=isotropic,seed=1"
    assert "/" not in folder_name("data.root=/data/photos,seed=1")
    long = [folder_name("x=" + "1," * 300 + f"seed={seed}") for seed in (0, 1)]
    assert long[0] != long[1] and max(map(len, long)) < 200


def test_a_name_of_many_bytes_a_letter_is_one_that_file_systems_take() -> None:
    for text in ("x=" + "ü" * 140, "x=" + "模" * 300):
        assert len(folder_name(text).encode()) <= 200
        assert folder_name(text + "a") != folder_name(text)
