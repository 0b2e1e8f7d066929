"""Class paths that no configuration may use as a part."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from genuq.errors import ConfigurationError
from genuq.parts import plugged
from genuq.parts.targets import named_object

REFUSED = {
    "os.system": "no configuration may use",
    "subprocess.Popen": "no configuration may use",
    "builtins.eval": "no configuration may use",
    "torch.load": "no configuration may use",
    "torch.hub.load": "no configuration may use",
    "genuq.files.write_json": "no configuration may use",
    "my_lab_refused.os.system": "no configuration may use",
    "my_lab_refused.alias": "no configuration may use",
    "my_lab_refused.NOTHING": "is a int, not a class or a function",
    "my_lab_refused.missing": "has no 'missing'",
    "my_lab_that_is_not.Thing": "there is no module 'my_lab_that_is_not'",
    "my_lab_that_is_not:Thing": "there is no module 'my_lab_that_is_not'",
    "my_lab_refused.deeper:Thing": "cannot be imported|there is no module 'my_lab_refused.deeper'",
    "my_lab_broken:Thing": r"'my_lab_broken' cannot be imported .ZeroDivisionError",
    "my_lab_refused:": "is no class path",
    "my lab.Thing": "is no class path",
}


@pytest.mark.parametrize("path", REFUSED)
def test_what_is_no_part_is_refused(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_lab_refused.py").write_text("import os\nalias = os.system\nNOTHING = 3\n")
    (tmp_path / "my_lab_broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match=rf"data\._target_ = .*{REFUSED[path]}"):
        plugged(path, "data", "data._target_")
    sys.modules.pop("my_lab_refused", None)


def test_a_coloned_path_of_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(
        ConfigurationError, match="--score = 'no_such_module:score': there is no module 'no_such_module'"
    ):
        named_object("no_such_module:score", "--score")
