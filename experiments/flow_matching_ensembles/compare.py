"""Are the shipped ensembles' members good networks, and do they disagree where samples are bad?

python experiments/flow_matching_ensembles/compare.py --samples 512

Goes on where it was stopped: the samples under each draw are kept in outputs/flow_matching_ensembles/.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from rich.progress import track
from torch import Tensor

import genuq
from genuq import extractors, files, machine, solvers
from genuq.analysis.correlation import correlation
from genuq.data import fashion_mnist
from genuq.models import GenerativeModel, Sampler, sample, to_unit
from genuq.models.checkpoints import load_classifier, reference_path
from genuq.posteriors import Posterior, PosthocEnsemble, isotropic_like, swapped
from genuq.randomness import key
from genuq.scores import functional, jitter_initial_noise
from genuq.training.ensembles import fit_members
from genuq.training.fine_tuning import anchor, prior_sizes
from genuq.training.member_settings import MemberSettings

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "reference_checkpoints"))
from measure import features, judged  # noqa: E402 - the study of the reference checkpoints

KEPT = Path("outputs/flow_matching_ensembles")
NAME, STEPS, DRAWS = "flow_matching_fashion_mnist", 10, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--kinds", nargs="+", default=["deep_ensemble", "posthoc_ensemble"])
    options = parser.parse_args()
    machine.prepare()
    model = genuq.load_reference("flow_matching")
    sampler = Sampler(solvers.build("dpm_solver_pp_2m"), STEPS, batch_size=128)
    versions = drawn(model, sampler, options.samples, posteriors(model, options.kinds))
    classifier, real_accuracy = load_classifier(reference_path("classifier_fashion_mnist"))
    real = features(classifier, fashion_mnist("test").batch(range(5000))[0])
    classes = sampler.classes_of(model, range(options.samples))
    assert classes is not None
    base = versions.pop("trained")
    confidence = class_confidence(classifier, base[0], classes)
    head = (
        f"{options.samples} samples, DPM-Solver++(2M), {STEPS} steps; accuracy on real test images {real_accuracy:.4f}."
    )
    rows = [
        head,
        "",
        "| weights | class accuracy | FID | rms change of a pixel in [0, 1] |",
        "|---|---|---|---|",
    ]
    accuracy, distance = judged(classifier, real, base[0], classes)
    rows.append(f"| trained | {accuracy:.4f} | {distance:.3f} | 0 |")
    for name, images in versions.items():
        for m, draw in enumerate(images):
            accuracy, distance = judged(classifier, real, draw, classes)
            moved = float((draw - base[0]).square().mean().sqrt()) / 2
            rows.append(f"| {name}, {m + 1} | {accuracy:.4f} | {distance:.3f} | {moved:.3f} |")
    rows += ["", "| score from | pixel entropy | semantic entropy |", "|---|---|---|"]
    for name, images in versions.items():
        cells = [agreement(likelihood, base[0], images, confidence) for likelihood in likelihoods(model)]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    rows += ["", "Spearman with the judge's probability of the class that was asked for, 95 % bootstrap interval."]
    files.write_text(HERE / "table.md", "\n".join(rows) + "\n")
    print("\n".join(rows))


def posteriors(model: GenerativeModel, kinds: list[str]) -> dict[str, Posterior]:
    """The shipped ensembles; and weight noise as large as the post-hoc one's in each tensor, its control."""
    data = fashion_mnist("train")
    found: dict[str, Posterior] = {
        kind: fit_members(MemberSettings(kind, checkpoints="reference"), model, data, reference=NAME) for kind in kinds
    }
    if "posthoc_ensemble" in found:
        found["its anchors"] = anchors(model, found["posthoc_ensemble"])
        found["weight noise of its size"] = isotropic_like(found["posthoc_ensemble"])
    return found


def anchors(model: GenerativeModel, members: Posterior) -> PosthocEnsemble:
    """Where the post-hoc members started: the same draws from the prior, before any fine-tuning."""
    starts, settings = PosthocEnsemble(model.network, bits=32), MemberSettings()
    trained = dict(model.network.named_parameters())
    sizes = prior_sizes(trained, settings.prior_relative_size)
    for k in range(members.n_seen):
        start = anchor(trained, sizes, key(settings.seed, k, "member"))
        starts.update(start)
        member = members.draw(k)
        moved = sum(float((member[name] - start[name]).square().sum()) for name in start)
        whole = sum(float(value.detach().square().sum()) for value in trained.values())
        print(f"member {k + 1} moved by {(moved / whole) ** 0.5:.4f} of the weights' size from its anchor")
    return starts.finalise(members.require_final())


def drawn(
    model: GenerativeModel, sampler: Sampler, count: int, sources: dict[str, Posterior]
) -> dict[str, list[Tensor]]:
    """Samples (N, 1, 28, 28) with the trained weights, under each draw of each posterior, and from jittered noise."""
    noise = sampler.initial_noise(model, range(count))
    versions = {"trained": [kept("trained", count, lambda: sample(model, sampler, range(count)))]}
    for name, posterior in sources.items():
        versions[name] = []
        for m in track(range(DRAWS), f"sampling: {name}"):

            def under(posterior: Posterior = posterior, m: int = m) -> Tensor:
                with swapped(posterior.module, posterior.draw(m)):
                    return sample(model, sampler, range(count))

            versions[name].append(kept(f"{name} {m}", count, under))
    starts = [
        jitter_initial_noise(noise, seed=0, indices=range(count), draw=m, relative_size=0.02) for m in range(DRAWS)
    ]
    versions["jittered initial noise"] = [
        kept(f"jitter {m}", count, lambda start=start: sample(model, sampler, range(count), start))  # type: ignore
        for m, start in enumerate(starts)
    ]
    return versions


def kept(name: str, count: int, make: object) -> Tensor:
    """A tensor made once."""
    path = KEPT / f"{name.replace(' ', '_')}-{count}.safetensors"
    if not path.exists():
        files.write_tensors(path, {"images": make()})  # type: ignore[operator]
    return files.read_tensors(path)[0]["images"]


def likelihoods(model: GenerativeModel) -> list[genuq.PixelLikelihood | genuq.SemanticLikelihood]:
    encoder = extractors.build("efficientnet", image_size=64)
    return [genuq.PixelLikelihood(model.shape), genuq.SemanticLikelihood(encoder)]


@torch.no_grad()
def class_confidence(classifier: torch.nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    probabilities = classifier.logits(features(classifier, images)).softmax(1)
    return probabilities.gather(1, classes[:, None])[:, 0]


def agreement(likelihood: object, base: Tensor, draws: list[Tensor], confidence: Tensor) -> str:
    """Spearman of the generative uncertainty with the class confidence."""
    embeddings = likelihood.embed(to_unit(torch.stack([base, *draws], dim=1)))  # type: ignore[attr-defined]
    variance = likelihood.observation_variance(embeddings).value  # type: ignore[attr-defined]
    found = correlation(functional("entropy")(embeddings, variance), confidence)
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"  # type: ignore[union-attr]


if __name__ == "__main__":
    main()
