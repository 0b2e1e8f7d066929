"""Tables as Markdown: what is in a cell stays in it."""

from genuq.report.drawing.markdown import table_lines


def test_words_stand_to_the_left_and_numbers_to_the_right():
    assert table_lines(["a", "b"], [["x", "1"]]) == ["| a | b |", "|---|---|", "| x | 1 |"]
    assert table_lines(["a", "b"], [], text_columns=1)[1] == "| --- | ---: |"


def test_a_bar_or_a_line_break_does_not_end_its_cell():
    assert table_lines(["a"], [["x|y\nz"]])[-1] == r"| x\|y z |"
