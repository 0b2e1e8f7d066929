"""The stage that evaluates: does the score find the samples that an independent judge calls bad?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from genuq import files
from genuq.analysis import (
    Interval,
    JudgedMap,
    SampleFacts,
    ScoredSamples,
    describe_judge,
    edge_map,
    evaluate_scores,
    judge_maps,
    neighbourhood_for,
    random_map,
    summarise,
)
from genuq.analysis.evaluation_entries import (
    PROMPT,
    SCORE_COLUMN,
    DrawsQuality,
    Evaluation,
    JudgedMapEntry,
    JudgeEntry,
    PromptEntry,
    SampleTable,
    SettingEntry,
    TruthEntry,
    write_evaluation,
)
from genuq.analysis.frontier import Labels, ScoredSetting, frontier
from genuq.analysis.intervals import bootstrap_interval
from genuq.analysis.score_entries import IntervalRow
from genuq.data import Truth
from genuq.display import Display
from genuq.extractors.judge import Judge
from genuq.metrics import Gaussian, MetricLabel, Neighbourhood, frechet_distance, frechet_to_reference, read_statistics
from genuq.parallel import collectives
from genuq.pipeline.columns import MAPPED, WATCHED, cost
from genuq.pipeline.judging import TruthInputs
from genuq.pipeline.real_statistics import real_statistics
from genuq.pipeline.run import Run
from genuq.pipeline.stage import Stage
from genuq.pipeline.stages.embed import REAL, read_clip_score, read_judged
from genuq.pipeline.stages.evaluate_inputs import PROPAGATED, EvaluateInputs, cost_of, encoder_name, inputs_of
from genuq.pipeline.stages.probe import read_probed
from genuq.pipeline.stages.propagate import shown_maps
from genuq.pipeline.stages.sample import read_samples, shown
from genuq.pipeline.stages.score import read_scores
from genuq.scores import png_bytes
from genuq.store.artefact import StageFolder
from genuq.store.upstream import FileContent

SAMPLES = "samples.safetensors"
JUDGED = ("confidence", "predicted", "realism", "membership", "clip_score", "complexity", "bad", "fault", "defect_size")
TARGETS = ("confidence", "realism", "membership", "clip_score")  # what is good of a sample, that a score should follow
WHOLE = ("index", "class", "predicted", "member", "bad", "fault")  # columns of whole numbers


class Evaluate(Stage[EvaluateInputs]):
    """Leaves evaluation.json (`analysis.evaluation_entries.Evaluation`), its scores in scores.json once more.

    And samples.safetensors, the same samples as one (N,) column each, for `genuq table --scores`.
    """

    name = "evaluate"
    version = 6
    shared = True

    def inputs(self, run: Run) -> EvaluateInputs:
        return inputs_of(run)

    def work(self, inputs: EvaluateInputs, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        samples, judged = read_samples(inputs.sample.path), read_judged(inputs.embed.path)
        columns = read_scores(inputs.score.path)
        given = None if inputs.statistics is None else read_statistics(inputs.statistics.path)
        real_RD, features_ND = judged["real"], judged["image"]  # each is read from disk once
        real = real_statistics(
            inputs.embed.path / REAL, real_RD, inputs.metric.k, folder.path, display, gaussian=given is None
        )
        known = neighbourhood_for(inputs.metric, real_RD, features_ND, real.radii_R)
        facts, truth = sample_facts(inputs, samples, features_ND, known), truth_of(inputs, samples)
        if inputs.truth is not None and truth is not None:
            facts |= true_facts(inputs.truth, truth)
        spent = samples | read_probed(inputs.probe)
        scores = {
            name: ScoredSamples(columns[name], column.label, column.kind, cost_of(inputs, column, spent))
            for name, column in inputs.columns.items()
        }
        with display.bar("evaluating", len(scores) + 1) as advance:
            rows = evaluate_scores(
                scores,
                features_ND,
                real_RD,
                facts_to_compare(facts, truth),
                inputs.metric,
                progress=lambda done, total, what: advance(1),
                reference=real.gaussian if given is None else given,
                neighbourhood=known,
                together=True,
            )
        if not collectives.is_first_process():
            return {}
        table = sample_columns(samples, columns, facts)
        files.write_tensors(folder.path / SAMPLES, table)
        evaluation = Evaluation(
            summary=summarise(rows, inputs.main),
            judge=judge_entry(inputs, judged, facts),
            scores=rows,
            quality={name: quality_of_draws(judged, name, given, real.gaussian) for name in inputs.posteriors},
            samples=sample_table(table, inputs.class_names, () if truth is None else truth.names, inputs.prompted),
            truth=None if truth is None else truth_entry(inputs, truth),
            judged_maps=[] if truth is None else judged_maps(inputs, spent, truth),
            prompts=prompt_entry(inputs, facts) if inputs.prompted else None,
            frontier=frontier_of(inputs, spent, facts),
        )
        write_evaluation(folder.path, evaluation)
        return {"sentence": evaluation.summary.sentence}


def sample_facts(
    inputs: EvaluateInputs, samples: Mapping[str, Tensor], features_ND: Tensor, known: Neighbourhood
) -> dict[str, Tensor]:
    """What the judge, the images and their real neighbours tell of each sample, by name.

    `bad` is the truth where it is known, else that the judge sees another class than the one asked for, which it
    cannot where prompts are no classes of the data.
    """
    judge, classes_N = inputs.judge.open(), samples["class"]
    facts = {"realism": known.realism_N, "membership": known.membership_N.double()}
    conditional = bool((classes_N >= 0).all())
    if conditional:
        facts["class"] = classes_N
    if inputs.prompts is not None:
        facts["clip_score"] = read_clip_score(inputs.embed.path, inputs.prompts, classes_N)
    if inputs.are_images:
        facts["complexity"] = png_bytes(shown(samples["image"], are_images=True))
    if judge.probabilities is not None:
        probabilities = judge.probabilities(features_ND)
        facts["predicted"] = probabilities.argmax(1)
        if conditional and not inputs.beyond_data:
            facts["confidence"] = probabilities.gather(1, classes_N[:, None])[:, 0]
            facts["bad"] = (facts["predicted"] != classes_N).double()
        else:
            facts["confidence"] = probabilities.amax(1)
    if judge.truth is not None:
        facts["bad"] = judge.truth(samples["image"]).double()
    return facts


def facts_to_compare(facts: Mapping[str, Tensor], truth: Truth | None) -> SampleFacts:
    """What scores are compared with, of what is known of each sample."""
    return SampleFacts(
        targets={name: facts[name] for name in TARGETS if name in facts},
        bad=facts.get("bad"),
        left_out=facts.get("left_out"),
        faults={} if truth is None else truth.faults,
        classes=facts.get("class"),
        complexity=facts.get("complexity"),
    )


def truth_of(inputs: EvaluateInputs, samples: Mapping[str, Tensor]) -> Truth | None:
    """What the data's oracle knows of the samples; None where the judge says which are bad."""
    if inputs.truth is None:
        return None
    conditional = bool((samples["class"] >= 0).all()) and not inputs.beyond_data
    return inputs.truth.of(samples["image"], samples["class"] if conditional else None)


def true_facts(inputs: TruthInputs, truth: Truth) -> dict[str, Tensor]:
    """What the oracle tells of each sample, by name; `left_out` are faulty in a way that is not asked about."""
    bad = inputs.bad_in(truth)
    return {
        "bad": bad.double(),
        "left_out": (~truth.valid & ~bad).double(),
        "fault": truth.kinds,
        "defect_size": truth.defect_size,
    }


def judged_maps(inputs: EvaluateInputs, samples: Mapping[str, Tensor], truth: Truth) -> list[JudgedMapEntry]:
    """Each of the maps, and beside them that of the samples' edges and random numbers."""
    if truth.mask is None or inputs.truth is None or not inputs.maps:
        return []
    maps = {name: samples[f"{MAPPED}{name}"] for name in inputs.maps if name != PROPAGATED}
    if PROPAGATED in inputs.maps and inputs.propagate is not None:
        shown_map = shown_maps(inputs.propagate.path)
        maps |= {} if shown_map is None else {PROPAGATED: shown_map}
    seed, bad_N = inputs.metric.seed, inputs.truth.bad_in(truth)
    maps |= {"edges": edge_map(samples["image"]), "random": random_map(truth.mask.shape, seed)}
    options = {"bootstrap": inputs.metric.bootstrap, "seed": seed}
    found = judge_maps(
        {name: values[bad_N] for name, values in maps.items()},
        truth.mask[bad_N],
        truth.parts[bad_N],
        inputs.truth.oracle.part_of,
        **options,
    )
    labels = {**inputs.maps, "edges": "Edges of the sample", "random": "Random numbers"}
    return [map_entry(name, labels[name], found[name], name in inputs.maps) for name in found]


def map_entry(name: str, label: str, found: JudgedMap, of_weights: bool) -> JudgedMapEntry:
    """A judged map as the record keeps it."""
    ends = (found.pixels, found.parts, found.top_share)
    pixels, parts, top = (IntervalRow.of(end) if isinstance(end, Interval) else None for end in ends)
    return JudgedMapEntry(name, label, "map" if of_weights else "control", pixels, parts, top, found.faulty)


def frontier_of(
    inputs: EvaluateInputs, samples: Mapping[str, Tensor], facts: Mapping[str, Tensor]
) -> list[SettingEntry]:
    """What the parts of the run's score find and cost; nothing where they were not kept."""
    if not inputs.partials:
        return []
    stages = [one for one in (inputs.sample, inputs.probe) if one is not None]
    notes = [stage.notes().get(key, {}) for stage in stages for key in ("partial_seconds", "score_seconds")]
    seconds = {name: value for found in notes for name, value in found.items() if value > 0}
    sampling = cost("sampling", samples)
    settings = [
        ScoredSetting(setting, samples[f"{WATCHED}{name}"], 1 + cost(name, samples) / sampling, seconds.get(name))
        for name, setting in inputs.partials.items()
    ]
    labels = Labels(facts.get("bad"), facts.get("left_out"), facts.get("class"))
    return frontier(settings, labels, bootstrap=inputs.metric.bootstrap, seed=inputs.metric.seed)


def truth_entry(inputs: EvaluateInputs, truth: Truth) -> TruthEntry:
    """How many samples have each fault."""
    assert inputs.truth is not None
    counts = {name: int(chosen.sum()) for name, chosen in truth.faults.items()}
    return TruthEntry(
        bad=list(inputs.truth.bad) or list(counts),
        counts=counts,
        valid=int(truth.valid.sum()),
        samples=len(truth.kinds),
        tolerance=inputs.truth.oracle.tolerance,
    )


def prompt_entry(inputs: EvaluateInputs, facts: Mapping[str, Tensor]) -> PromptEntry:
    """How many prompts there are and, where a CLIP was asked, how well the samples show them."""
    entry = PromptEntry(len(facts["class"].unique()), inputs.beyond_data)
    if inputs.prompts is None:
        return entry
    scores_N, settings = facts["clip_score"].numpy(), inputs.metric
    found = bootstrap_interval(lambda w: w @ scores_N / w.sum(1), len(scores_N), settings.bootstrap, settings.seed)
    mean = IntervalRow.of(found) if isinstance(found, Interval) else None
    return replace(entry, model=inputs.prompts.open().name, clip_score=mean)


def warnings_of_prompts(inputs: EvaluateInputs, classes_N: Tensor) -> list[str]:
    """What a reader of the CLIP scores must know."""
    if inputs.prompts is None:
        return []
    clip, found = inputs.prompts.open(), []
    asked = [inputs.prompts.prompts[number] for number in classes_N.unique().tolist()]
    if cut := clip.too_long(asked):
        found.append(
            f"The CLIP score of {len(cut)} of {len(asked)} prompts is that of their beginning: {clip.name} reads "
            f"{clip.longest} tokens."
        )
    space = encoder_name(inputs.likelihood.build())
    if space is not None and "clip" in space.lower():
        found.append(
            f"'{space}' scores and {clip.name} gives the CLIP scores: encoders trained alike share blind spots, "
            "so that a correlation of the two says less."
        )
    return found


def judge_entry(inputs: EvaluateInputs, judged: Mapping[str, Tensor], facts: Mapping[str, Tensor]) -> JudgeEntry:
    """Who judged, in how many dimensions and with how many neighbours, and how far that can be trusted."""
    judge: Judge = inputs.judge.open()
    label = MetricLabel(judge.name, judged["real"].shape[1], inputs.metric.k, len(judged["image"]), len(judged["real"]))
    classified = "predicted" in facts and "class" in facts and not inputs.beyond_data
    told = warnings_of_prompts(inputs, facts["class"]) if "class" in facts else []
    entry = describe_judge(
        label,
        encoder_name(inputs.likelihood.build()),
        allow_shared=inputs.allow_shared_extractor,
        real_test_accuracy=judge.real_test_accuracy,
        sample_accuracy=1 - float((facts["predicted"] != facts["class"]).double().mean()) if classified else None,
    )
    if inputs.statistics is not None:
        told.append(statistics_words(inputs.statistics))
    told += inputs.remarks
    return replace(entry, warnings=[*entry.warnings, *told]) if told else entry


def statistics_words(statistics: FileContent) -> str:
    """What the FIDs are to, where they are not to the real images."""
    return (
        f"FIDs of samples and draws are to the statistics in {statistics.path.name} (sha256 "
        f"{statistics.identity[:8]}); all else compares with real images."
    )


def quality_of_draws(
    judged: Mapping[str, Tensor], name: str, reference: Gaussian | None = None, real: Gaussian | None = None
) -> DrawsQuality:
    """FID of the unperturbed samples and of each draw's: a draw that ruins the images says nothing about them.

    Args:
        reference: of the FIDs, in place of the real images.
        real: mean and covariance of the real features, where they are known.
    """
    draws_NMD = judged[name]

    def fid(features_ND: Tensor) -> float:
        if reference is not None:
            return frechet_to_reference(reference, features_ND)
        return frechet_distance(judged["real"], features_ND, real)

    return DrawsQuality(fid(judged["image"]), [fid(draws_NMD[:, m]) for m in range(draws_NMD.shape[1])])


def sample_columns(
    samples: Mapping[str, Tensor], scores: Mapping[str, Tensor], facts: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """What is known of each sample as (N,) columns: index, class (-1: none), every score, and what the judge says."""
    judged = {"member" if name == "membership" else name: facts[name] for name in JUDGED if name in facts}
    scored = {f"{SCORE_COLUMN}{name}": values for name, values in scores.items()}
    columns: dict[str, Tensor] = {"index": samples["index"], "class": samples["class"], **scored, **judged}
    return {name: values.long() if name in WHOLE else values.double() for name, values in columns.items()}


def sample_table(
    columns: Mapping[str, Tensor],
    class_names: Sequence[str],
    fault_names: Sequence[str] = (),
    prompted: bool = False,
) -> SampleTable:
    """The same, one row a sample, with the class (or its prompt) and the fault by their names."""
    classes = [code if code >= 0 else None for code in columns["class"].tolist()]
    listed = {
        "index": columns["index"].tolist(),
        "class": classes,
        PROMPT if prompted else "class_name": [None if code is None else class_names[code] for code in classes],
    }
    listed |= {name: values.tolist() for name, values in columns.items() if name not in listed}
    if "fault" in listed:
        listed["fault"] = [fault_names[code] for code in listed["fault"]]
    return SampleTable(list(listed), [list(row) for row in zip(*listed.values())])
