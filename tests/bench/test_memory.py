import torch

from genuq.bench.memory import peak_bytes
from genuq.bench.timing import elapsed, interleaved, ratio


def test_the_peak_is_that_of_what_is_alive_together():
    def work():
        first = torch.empty(1000, dtype=torch.float64)
        passing = torch.empty(5000, dtype=torch.float64)
        del passing
        last = torch.empty(2000, dtype=torch.float64)
        return first, last

    peak, (first, last) = peak_bytes(work)
    assert peak == 8 * 6000 and len(first) + len(last) == 3000


def test_temporaries_within_an_operator_count():
    values = torch.zeros(1000, dtype=torch.float32)
    peak, total = peak_bytes(lambda: values.sum(dtype=torch.float64))  # converts all of them on the way
    assert peak >= 8 * 1000 and float(total) == 0


def test_what_was_alive_before_does_not_count():
    before = torch.ones(10_000)
    assert peak_bytes(lambda: before.view(100, 100).T)[0] == 0
    assert peak_bytes(lambda: before.neg_())[0] == 0


def test_every_round_does_all_of_the_work_in_turn():
    calls = []
    seconds = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2)
    assert calls == ["a", "b"] * 3 and {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}
    calls.clear()
    interleaved({"a": lambda: calls.append("a")}, rounds=1, warm=False)
    assert calls == ["a"] and elapsed(lambda: None) >= 0


def test_a_ratio_is_of_medians():
    assert ratio({"a": [1.0, 100.0, 2.0], "b": [4.0, 0.5, 1.0]}, "a", "b") == 2.0
