"""Tables as Markdown: what is in a cell stays in it."""

import pytest
from markdown_it import MarkdownIt

from genuq.report.drawing.markdown import code, code_block, prose, table_lines

NASTY = r"<b>x</b> & &lt; a_b _c_ *d* `e` [f](g) ![h](i) 100% =1 @j \k | $l$ 0.3 [0.2, 0.4]"


def test_words_stand_to_the_left_and_numbers_to_the_right():
    assert table_lines(["a", "b"], [["x", "1"]]) == ["| a | b |", "|---|---|", "| x | 1 |"]
    assert table_lines(["a", "b"], [], text_columns=1)[1] == "| --- | ---: |"


def test_a_bar_or_a_line_break_does_not_end_its_cell():
    assert table_lines(["a"], [["x|y\nz"]])[-1] == r"| x\|y z |"


def printed(markdown: str) -> str:
    """What a reader sees of Markdown that may hold HTML: its text, with every tag that became one marked."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown)
    inline = [child for token in tokens if token.type == "inline" for child in token.children or ()]
    assert not [child.type for child in inline if child.type not in ("text", "text_special", "code_inline")]
    return "".join(child.content for child in inline)


@pytest.mark.parametrize(
    "text", [NASTY, "# a", "- a", "+ a", "> a", "1. a", "2) a", "a\nb", "<!-- a -->", "**", "a ** b"]
)
def test_any_text_prints_as_itself(text: str) -> None:
    assert printed(prose(text)) == " ".join(text.split())
    assert printed(prose(f"{text} ends")) == " ".join(f"{text} ends".split())


@pytest.mark.parametrize("text", [NASTY.replace("*d*", "").replace("_c_", "").replace("`e`", ""), "1. a", "a\\|b", "|"])
def test_text_in_a_cell_prints_as_itself(text: str) -> None:
    assert printed("\n".join(table_lines(["h"], [[text]]))) == "h" + " ".join(text.split())


@pytest.mark.parametrize("text", ["a b", "a `b` c", "``", "<b> *x* |"])
def test_any_text_is_code_as_it_is(text: str) -> None:
    assert printed(code(text)) == text
    assert code("a b") == "`a b`"


def test_a_block_of_code_ends_at_its_end() -> None:
    lines = ["genuq a=1", "```", "<b>"]
    (token,) = MarkdownIt().parse(code_block(lines))
    assert token.type == "fence" and token.content.splitlines() == lines
    assert code_block(["a"]) == "```\na\n```"
