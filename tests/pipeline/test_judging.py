"""What looks at samples: the rules that the data were drawn by, and which of their faults count."""

from __future__ import annotations

from genuq.identity import identity_of
from genuq.pipeline.inputs import DataInputs, PartInputs
from genuq.pipeline.judging import TruthInputs
from genuq.pipeline.memory import Memory


def test_an_oracle_says_what_is_bad() -> None:
    options = {"name": "glyphs", "size": 30}
    data = DataInputs({"test": "abc"}, options, memory=Memory(), subset=None, seed=0)
    part = PartInputs("glyphs", {"size": 30}, None)
    images, _ = data.test.batch(range(4))
    images[0, 0, :16, :16] = -1  # no glyph
    images[1, 0, :16] = images[1, 0, 16:]  # two glyphs, both twice
    images[2] = 0
    every, broken, rule = (TruthInputs(part, bad, data) for bad in ((), ("broken",), ("rule_broken", "broken_small")))
    truth = every.of(images, None)
    assert every.bad_in(truth).tolist() == [True, True, True, False]
    assert broken.bad_in(truth).tolist() == [True, False, True, False]
    assert rule.bad_in(truth).tolist() == [False, True, False, False]
    assert identity_of(broken) == {"data": {"name": "glyphs", "options": {"size": 30}, "code": None}, "bad": ["broken"]}
