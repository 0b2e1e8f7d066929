"""How good are the checkpoints that ship with genuq? Class accuracy and FID in the judge's space, and a grid of each.

python experiments/reference_checkpoints/measure.py --samples 2000
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.progress import track

import genuq
from genuq import files, machine, solvers
from genuq.data import fashion_mnist
from genuq.metrics import frechet_distance
from genuq.models import Sampler, sample, to_bytes
from genuq.models.checkpoints import load_classifier, reference_path
from genuq.report import sample_grid

HERE = Path(__file__).parent
GUIDANCE = {"flow_matching": 1.0, "ddpm": 1.2, "latent_diffusion": 1.4}  # as in conf/model
STEPS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--models", nargs="+", default=list(GUIDANCE))
    options = parser.parse_args()
    machine.prepare()
    classifier, real_accuracy = load_classifier(reference_path("classifier_fashion_mnist"))
    real = features(classifier, fashion_mnist("test").batch(range(5000))[0])
    head = (
        f"Accuracy on real test images {real_accuracy:.4f}; {options.samples} samples, DPM-Solver++(2M), {STEPS} steps."
    )
    rows = [head, "", "| model | guidance | class accuracy | FID |"]
    rows.append("|---|---|---|---|")
    for name in options.models:
        model = genuq.load_reference(name)
        sampler = Sampler(solvers.build("dpm_solver_pp_2m"), STEPS, guidance_scale=GUIDANCE[name], batch_size=128)
        images = drawn(model, sampler, options.samples)
        accuracy, distance = judged(classifier, real, images, sampler.classes_of(model, range(len(images))))
        rows.append(f"| {name} | {GUIDANCE[name]} | {accuracy:.4f} | {distance:.3f} |")
        print(rows[-1], flush=True)
        sample_grid(to_bytes(images[:40]), 20).resize((20 * 58, 2 * 58)).save(HERE / f"{name}.png")
    files.write_text(HERE / "table.md", "\n".join(rows) + "\n")


def drawn(model: genuq.GenerativeModel, sampler: Sampler, count: int) -> torch.Tensor:
    chunks = torch.arange(count).split(sampler.batch_size)
    return torch.cat([sample(model, sampler, chunk.tolist()) for chunk in track(chunks, "sampling")])


@torch.no_grad()
def features(classifier: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    return torch.cat([classifier.features(chunk) for chunk in images.split(500)])


@torch.no_grad()
def judged(
    classifier: torch.nn.Module, real: torch.Tensor, images: torch.Tensor, classes: torch.Tensor
) -> tuple[float, float]:
    """(share of samples whose class the judge finds, FID in its features), of the images as a person sees them."""
    fake = features(classifier, to_bytes(images).float() / 127.5 - 1)
    accuracy = (classifier.logits(fake).argmax(1) == classes).double().mean()
    return float(accuracy), frechet_distance(real, fake)


if __name__ == "__main__":
    main()
