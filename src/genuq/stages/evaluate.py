"""The stage that evaluates: does the score find the samples that an independent judge calls bad?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from genuq import files
from genuq.analysis import EvaluationSettings, SampleFacts, describe_judge, evaluate_scores, summarise
from genuq.metrics import MetricLabel, frechet_distance, membership, realism
from genuq.report.values import plain
from genuq.scores import complexity
from genuq.stages.artefacts import StageFolder
from genuq.stages.columns import scored_samples
from genuq.stages.embed import by_content, read_judged
from genuq.stages.progress import Display
from genuq.stages.run import Run
from genuq.stages.sample import read_samples, shown
from genuq.stages.stage import Stage

JUDGED = ("confidence", "predicted", "realism", "membership", "complexity", "bad")
WHOLE = ("index", "class", "predicted", "member", "bad")  # columns of whole numbers


class Evaluate(Stage):
    """Leaves evaluation.json: the parts `summary`, `judge`, `scores`, `quality`, `samples` of the results.

    And samples.safetensors, the same samples as one (N,) column each, for `genuq-table --scores`.
    """

    name = "evaluate"
    version = 2
    inputs = ("score",)
    groups = ("metric",)

    def settings(self, run: Run) -> dict[str, Any]:
        settings = super().settings(run)
        settings["metric"]["options"] = by_content(run, settings["metric"]["options"])
        return settings

    def work(self, run: Run, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        samples = read_samples(run)
        judged = read_judged(run)
        columns, _ = files.read_tensors(run.path("score") / "scores.safetensors")
        facts = known_of(run, samples, judged)
        scores = scored_samples(run, columns, samples)
        with display.bar("evaluating", len(scores) + 1) as advance:
            rows = evaluate_scores(
                scores,
                judged["image"],
                judged["real"],
                SampleFacts(
                    targets={name: facts[name] for name in ("confidence", "realism", "membership") if name in facts},
                    bad=facts.get("bad"),
                    classes=facts.get("class"),
                    complexity=facts.get("complexity"),
                ),
                settings_of(run),
                progress=lambda done, total, what: advance(1),
            )
        table = sample_columns(samples, columns, facts)
        files.write_tensors(folder.path / "samples.safetensors", table)
        evaluation: dict[str, Any] = {
            "summary": summarise(rows, run.config.score.name),
            "judge": judge_entry(run, judged, facts),
            "scores": rows,
            "quality": {name: quality_of_draws(judged, name) for name in run.posteriors()},
            "samples": sample_table(table, run.training_set.class_names),
        }
        files.write_json(folder.path / "evaluation.json", plain(evaluation))
        return {"sentence": evaluation["summary"]["sentence"]}


def settings_of(run: Run) -> EvaluationSettings:
    settings = run.config.metric
    return EvaluationSettings(
        k=settings.k,
        fractions=tuple(settings.fractions),
        bins=settings.bins,
        bootstrap=settings.bootstrap,
        half_samples=settings.half_samples,
        random_repeats=settings.random_repeats,
        per_class=settings.per_class,
        seed=run.config.seed,
    )


def known_of(run: Run, samples: Mapping[str, Tensor], judged: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the judge and the images tell of each sample, by name.

    `bad` is the truth where it is known, else that the judge sees another class than the one asked for.
    """
    k, judge = run.config.metric.k, run.judge
    facts = {
        "realism": realism(judged["real"], judged["image"], k),
        "membership": membership(judged["real"], judged["image"], k).double(),
    }
    conditional = bool((samples["class"] >= 0).all())
    if conditional:
        facts["class"] = samples["class"]
    if run.is_image:
        facts["complexity"] = complexity(shown(run, samples["image"]))["png_bytes"]
    if judge.probabilities is not None:
        probabilities = judge.probabilities(judged["image"])
        facts["predicted"] = probabilities.argmax(1)
        if conditional:
            facts["confidence"] = probabilities.gather(1, samples["class"][:, None])[:, 0]
            facts["bad"] = (facts["predicted"] != samples["class"]).double()
        else:
            facts["confidence"] = probabilities.amax(1)
    if judge.truth is not None:
        facts["bad"] = judge.truth(samples["image"]).double()
    return facts


def judge_entry(run: Run, judged: Mapping[str, Tensor], facts: Mapping[str, Tensor]) -> dict[str, Any]:
    label = MetricLabel(
        run.judge.name, judged["real"].shape[1], run.config.metric.k, len(judged["image"]), len(judged["real"])
    )
    classified = "predicted" in facts and "bad" in facts
    return describe_judge(
        label,
        scoring_space(run),
        allow_shared=run.config.metric.allow_shared_extractor,
        real_test_accuracy=run.judge.real_test_accuracy,
        sample_accuracy=1 - float(facts["bad"].mean()) if classified else None,
    )


def scoring_space(run: Run) -> str | None:
    """Name of the encoder that scores; None for pixels and points."""
    extractor = getattr(run.likelihood, "extractor", None)
    return None if extractor is None else extractor.name


def quality_of_draws(judged: Mapping[str, Tensor], name: str) -> dict[str, Any]:
    """FID of the unperturbed samples and of each draw's: a draw that ruins the images says nothing about them."""
    draws_NMD = judged[name]
    return {
        "fid_map": frechet_distance(judged["real"], judged["image"]),
        "fid_draws": [frechet_distance(judged["real"], draws_NMD[:, m]) for m in range(draws_NMD.shape[1])],
    }


def sample_columns(
    samples: Mapping[str, Tensor], scores: Mapping[str, Tensor], facts: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """What is known of each sample as (N,) columns: index, class (-1: none), every score, and what the judge says."""
    told = {"member" if name == "membership" else name: facts[name] for name in JUDGED if name in facts}
    scored = {f"score_{name}": values for name, values in scores.items()}
    columns: dict[str, Tensor] = {"index": samples["index"], "class": samples["class"], **scored, **told}
    return {name: values.long() if name in WHOLE else values.double() for name, values in columns.items()}


def sample_table(columns: Mapping[str, Tensor], class_names: Sequence[str]) -> dict[str, Any]:
    """The same, one row a sample, with the class by its name beside its number."""
    classes = [code if code >= 0 else None for code in columns["class"].tolist()]
    listed = {
        "index": columns["index"].tolist(),
        "class": classes,
        "class_name": [None if code is None else class_names[code] for code in classes],
    }
    listed |= {name: values.tolist() for name, values in columns.items() if name not in listed}
    return {"columns": list(listed), "rows": [list(row) for row in zip(*listed.values())]}
