"""What is compared is timed in turn, and by medians."""

from genuq.bench.timing import elapsed, interleaved, ratio


def test_every_round_does_all_of_the_work_in_turn():
    calls = []
    seconds = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2)
    assert calls == ["a", "b"] * 3 and {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}
    calls.clear()
    interleaved({"a": lambda: calls.append("a")}, rounds=1, warm=False)
    assert calls == ["a"] and elapsed(lambda: None) >= 0


def test_a_ratio_is_of_medians():
    assert ratio({"a": [1.0, 100.0, 2.0], "b": [4.0, 0.5, 1.0]}, "a", "b") == 2.0
