"""What can accept in place of the judge: pairs of samples of one class, one put in the place of the other.

python experiments/rectification/evidence.py

Of the pairs that an evidence likes best, how often does the judge's confidence rise? And does what the witnesses
promise each other hold before the judge? 1024 samples of the shipped flow-matching model; 8192 training images.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import genuq
from genuq import data, extractors, files
from genuq.applications import calibrated_rise, fit_witness
from genuq.extractors.judge import classifier_judge
from genuq.models import sample, to_bytes, to_unit
from genuq.models.checkpoints import reference_path
from genuq.solvers import DPMSolverPlusPlus2M

SEED = 24
SHARES = (0.1, 0.02)  # of the pairs, those with the largest gains


def main() -> None:
    real = data.subset(data.load("fashion_mnist", "train"), 8192, SEED)
    real_images, labels = real.batch(range(len(real)))
    model, sampler = genuq.load_reference("flow_matching"), genuq.Sampler(DPMSolverPlusPlus2M(), steps=10, seed=SEED)
    images, classes = sample(model, sampler, range(1024)), sampler.classes_of(model, range(1024))
    assert classes is not None
    judge = classifier_judge(reference_path("classifier_fashion_mnist"))
    assert judge.probabilities is not None
    confidence = judge.probabilities(judge.embed(to_bytes(images))).gather(1, classes[:, None])[:, 0]
    ways = {
        "scoring": extractors.build("efficientnet", image_size=64),
        "pixels": extractors.build("pixels", image_shape=(1, 28, 28)),
    }
    evidence, asked = {}, []
    for name, way in ways.items():
        of_real, of_samples = way.extract(to_unit(real_images)), way.extract(to_unit(images))
        evidence[f"realism, {name}"] = -nearest(of_real, of_samples)
        evidence[f"realism within the class, {name}"] = within(nearest, of_real, labels, of_samples, classes)
        evidence[f"log-density within the class, {name}"] = within(mahalanobis, of_real, labels, of_samples, classes)
        asked.append(fit_witness(of_real, labels, 10).log_odds(of_samples, classes))
        evidence[f"a witness, {name}"] = asked[-1]
    rises, gains = pairs(confidence, classes), {name: pairs(values, classes) for name, values in evidence.items()}
    gains["both witnesses"] = torch.minimum(*(pairs(values, classes) for values in asked))
    lines = ["| evidence | the judge rises, of the best 10 % of the pairs | of the best 2 % |", "|---|---|---|"]
    lines += [
        f"| {name} | {' | '.join(f'{share:.3f}' for share in best(gain, rises))} |" for name, gain in gains.items()
    ]
    lines += [
        "",
        "| asked to be sure | least rise | confirmed | promised | the judge rises | falls by > 0.01 | pairs |",
    ]
    lines += ["|---|---|---|---|---|---|---|"]
    for sure in (0.8, 0.9, 0.95, 0.98, 0.99):
        found = calibrated_rise(torch.stack(asked), classes, sure)
        taken = rises[gains["both witnesses"] >= found.rise]
        cells = [found.rise, found.confirmed, found.sure, (taken > 0).double().mean(), (taken < -0.01).double().mean()]
        lines.append(f"| {sure} | {' | '.join(f'{cell:.3g}' for cell in map(float, cells))} | {len(taken)} |")
    files.write_text(Path(__file__).parent / "evidence.md", "\n".join(lines) + "\n")


def pairs(values_N: Tensor, classes_N: Tensor) -> Tensor:
    """By how much the second of each ordered pair of one class exceeds the first."""
    alike = (classes_N[:, None] == classes_N).fill_diagonal_(False)
    return (values_N[None, :] - values_N[:, None])[alike].double()


def best(gain: Tensor, rises: Tensor) -> list[float]:
    order = gain.argsort(descending=True)
    return [float((rises[order[: int(share * len(order))]] > 0).double().mean()) for share in SHARES]


def nearest(real_RD: Tensor, fake_ND: Tensor) -> Tensor:
    """Distance to the fifth nearest real image."""
    return torch.cdist(fake_ND.double(), real_RD.double()).topk(5, largest=False).values[:, -1]


def mahalanobis(real_RD: Tensor, fake_ND: Tensor) -> Tensor:
    """Squared distance under the Gaussian of the real images, shrunk by a tenth of its mean variance."""
    covariance, away = torch.cov(real_RD.double().T), fake_ND.double() - real_RD.double().mean(0)
    covariance.diagonal().add_(0.1 * covariance.diagonal().mean())
    return (away * torch.linalg.solve(covariance, away.T).T).sum(1)


def within(
    distance: Callable[[Tensor, Tensor], Tensor], real: Tensor, labels: Tensor, fake: Tensor, classes: Tensor
) -> Tensor:
    """Minus the distance to the real images of each sample's own class."""
    found = torch.empty(len(fake), dtype=torch.float64)
    for label in classes.unique():
        found[classes == label] = -distance(real[labels == label], fake[classes == label])
    return found


if __name__ == "__main__":
    main()
