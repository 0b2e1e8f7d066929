"""Rows of more prompts than are held: the numbers of encoding all at once, in bounded memory."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import genuq
from genuq.models import Conditions, sample_latents
from genuq.pretrained.prompts import Texts, conditions_of
from support.pretrained_cases import opened
from support.small_pipelines import options_of

WORDS = ("red", "green", "blue", "small", "large")
PROMPTS = [f"a {one} cat and a {other} dog" for one in WORDS for other in WORDS[:4]]
COUNT = len(PROMPTS)
EACH = [f"grey {prompt}" for prompt in PROMPTS]


def conditions(family: str, negative: str | Sequence[str] | None, held: float, prompts: list[str]) -> Conditions:
    model, pipe = opened(family)
    return conditions_of(pipe, model.family, prompts, negative, held)


def flat(value: Tensor | list[Tensor]) -> list[Tensor]:
    return [row for row in value]


@pytest.mark.parametrize(
    "family,negative",
    [("stable_diffusion", None), ("stable_diffusion_xl", "grey"), ("stable_diffusion_xl", EACH), ("z_image", EACH)],
)
def test_rows_are_those_of_encoding_all_at_once(family: str, negative: str | Sequence[str] | None) -> None:
    whole, asked = (conditions(family, negative, held, PROMPTS) for held in (float("inf"), 1.0))
    assert (len(asked), asked.nulls, asked.prompts) == (len(whole), whole.nulls, whole.prompts)
    y = torch.tensor([3, 17, 3, COUNT - 1, 0])
    numbers = torch.cat([y, whole.null_of(y)]) if whole.nulls else y
    expected, found = whole.at(numbers), asked.at(numbers)
    assert expected.keys() == found.keys()
    for name in expected:
        for one, other in zip(flat(found[name]), flat(expected[name]), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_a_row_does_not_depend_on_those_asked_with_it() -> None:
    asked = conditions("stable_diffusion_xl", "grey", 1.0, PROMPTS)
    together = asked.at(torch.arange(COUNT))
    alone = [asked.at(torch.tensor([number])) for number in range(COUNT)]
    assert all(torch.equal(torch.cat([row[name] for row in alone]), together[name]) for name in together)


class TestBounds:
    """What is held, and how often prompts go through the text encoders."""

    @pytest.fixture
    def encoded(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        seen: list[str] = []
        plain = Texts.encoded

        def watched(texts: Texts, numbers: Sequence[int]) -> Any:
            seen.extend(texts.prompts[number] for number in numbers)
            return plain(texts, numbers)

        monkeypatch.setattr(Texts, "encoded", watched)
        return seen

    def test_each_prompt_once_a_pass_and_no_more_are_held_than_there_is_room_for(self, encoded: list[str]) -> None:
        each = conditions("stable_diffusion", None, float("inf"), PROMPTS[:1]).at(torch.tensor([0]))["text"].nbytes
        asked = conditions("stable_diffusion", None, 4 * each, [prompt for prompt in PROMPTS for _ in range(2)])
        for _ in range(2):  # passes
            encoded.clear()
            for start in range(0, 2 * COUNT, 4):
                asked.at(torch.arange(start, min(start + 4, 2 * COUNT)))
            assert encoded == PROMPTS, "equal prompts are one"
        encoded.clear()
        asked.at(torch.arange(2 * COUNT - 4, 2 * COUNT))
        assert not encoded, "the last ones are held"

    def test_all_that_fit_are_encoded_at_once_and_never_again(self, encoded: list[str]) -> None:
        whole = conditions("stable_diffusion", None, float("inf"), PROMPTS)
        whole.at(torch.arange(COUNT))
        assert encoded == PROMPTS


def test_copies_of_a_model_share_the_text_encoders() -> None:
    asked = conditions("stable_diffusion", None, 1.0, PROMPTS)
    assert copy.deepcopy(asked).source is asked.source


def test_samples_are_those_of_encoding_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {**options_of("stable_diffusion"), "prompts": PROMPTS}
    found = []
    for held in (2**30, 1):
        monkeypatch.setattr("genuq.pretrained.prompts.HELD", held)
        model = genuq.from_pipeline(opened("stable_diffusion")[1], **options)
        found.append(sample_latents(model, model.sampler(2, guidance_scale=3.0), range(3)))
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)
