import torch

from genuq.bench.memory import peak_bytes


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
