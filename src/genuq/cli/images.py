"""`genuq images`: scores of finished images whose noise nobody kept, as a table and a page; the best may be kept."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genuq.cli.run import require_overrides
from genuq.config import schemas
from genuq.config.compose import configurations, prepared, require_one_job
from genuq.config.plugged import settle
from genuq.data.loose_images import LooseImages
from genuq.display import Display
from genuq.identity import identity_of
from genuq.pipeline import images as work
from genuq.pipeline.configured import architecture_of, model_names
from genuq.pipeline.run import Run
from genuq.report.images import page
from genuq.report.images.folder import KEPT, PAGE, TABLE, ReportFolder
from genuq.report.images.ranking import Column, Ranking, kept_by, parsed_keep, require_some
from genuq.scores import SCORES, ImageScores

IMAGES = Path("outputs") / "images"
DESCRIPTION = """Noises finished images again and asks the networks what they see: re-noised disagreement of posterior
draws, LID, lack of self-confidence, class margin; no seed of the images is needed. Leaves scores.csv (a line for each
file), index.html (from the most to the least doubtful) and, with --keep, the least doubtful in kept/. Model, posterior
and scores are those of a run with the same overrides, which shares the posterior that it fitted."""
NOTES = """Where the model knows classes, an image's class is the name of its folder, or --class. An image's scores
depend on its pixels and its class, not on its name or on what else is there: of a folder that grew only the new images
are scored, and a call that was killed goes on where it stopped. The folder of the images is never changed."""


def main(arguments: Sequence[str]) -> int:
    """Score the images and write everything; returns the exit status.

    Raises:
        GenuqError: options, images or a folder that cannot be; nothing long has started.
    """
    schemas.register()
    given = parser().parse_intermixed_args(arguments)
    keep = None if given.keep is None else parsed_keep(given.keep)
    command, display = shlex.join(["genuq", "images", *arguments]), Display()
    run = run_of(configuration_of(given), command)
    with display.busy("checking the configuration, the model and the images' folder"):
        left_out = work.choose_scores(run)
        work.check(run)
        model = architecture_of(run)
        dataset = LooseImages(given.folder, model.shape, work.class_names(run), given.asked, given.resize)
        if keep is not None:
            require_some(keep, len(dataset))
        folder = ReportFolder.claimed(out_of(given, run), dataset.root, made_from(given, run))
        if keep is not None:
            folder.check_kept()
    if left_out:
        display.say(f"of no finished image, and left out: {', '.join(left_out)}")
    scores = work.score_folder(run, dataset, display)
    ranking = ranking_of(scores, dataset, work.class_names(run), keep)
    write(folder, ranking, scores, dataset, run, given.link, display)
    return 0


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser("genuq images", description=DESCRIPTION, epilog=NOTES)
    whole.add_argument("folder", type=Path, metavar="FOLDER", help="with the images, at any depth")
    whole.add_argument("overrides", nargs="*", help="those of genuq: experiment=quickstart, model=..., score=lid, ...")
    whole.add_argument("--keep", metavar="K", help="copy the least doubtful: a share (0.8) or a number (100)")
    whole.add_argument("--link", action="store_true", help="with --keep: symbolic links in place of copies")
    whole.add_argument("--out", type=Path, metavar="DIR", help=f"default: {IMAGES}/NAME/FOLDER")
    whole.add_argument("--class", dest="asked", metavar="NAME", help="the class of all images, in place of folders")
    whole.add_argument("--resize", action="store_true", help="fit images of another size or colours to the model's")
    whole.add_argument(
        *("-cd", "--config-dir"), action="append", default=[], metavar="DIR", help="folder of your own options"
    )
    return whole


def configuration_of(given: argparse.Namespace) -> DictConfig:
    """The configuration of the one run whose model, posterior and scores are asked for."""
    require_overrides(given.overrides)
    overrides = prepared(given.overrides, given.config_dir)
    require_one_job(overrides)
    ((_, config),) = configurations(overrides)
    return config


def run_of(config: DictConfig, command: str) -> Run:
    """The run, as if it were in its own folder."""
    OmegaConf.resolve(settle(config))
    return Run(config, Path("outputs") / config.name, command)


def out_of(given: argparse.Namespace, run: Run) -> Path:
    """Where the table and the page are written."""
    out: Path = given.out or IMAGES / run.config.name / given.folder.resolve().name
    return out.expanduser()


def made_from(given: argparse.Namespace, run: Run) -> dict[str, Any]:
    """What the scores in a folder depend on, beside which images there are."""
    return {
        "folder": str(given.folder.expanduser().resolve()),
        "resize": given.resize,
        "class": given.asked,
        "scoring": identity_of(work.images_inputs(run)),
    }


def ranking_of(scores: ImageScores, dataset: LooseImages, classes: Sequence[str], keep: float | int | None) -> Ranking:
    """The images in their order, and which of them are kept."""
    columns = [
        Column(name, SCORES.get(name).label, SCORES.get(name).kind, values.numpy(), scores.costs[name])
        for name, values in scores.scores.items()
    ]
    labels = [classes[label] for label in dataset.labels.tolist()] if classes else []
    kept = None if keep is None else kept_by(columns[0].values, keep)
    return Ranking(dataset.names, labels, columns, kept)


def write(
    folder: ReportFolder,
    ranking: Ranking,
    scores: ImageScores,
    dataset: LooseImages,
    run: Run,
    link: bool,
    display: Display,
) -> None:
    """Write the table and the page, put what is kept into its folder, and say where."""
    with display.busy("drawing the page"):
        text = page.render(
            ranking,
            f"Images of {dataset.name}",
            lambda rows: dataset.pixels(rows).numpy(),
            scores.evaluations,
            facts_of(run),
            run.command,
        )
        folder.write({TABLE: ranking.csv(), PAGE: text})
    if ranking.kept is not None:
        names = [ranking.names[row] for row in ranking.kept.nonzero()[0].tolist()]
        with display.bar("linking" if link else "copying", len(names)) as advance:
            folder.keep(names, dataset.root, link, advance)
        display.say(f"{len(names):,} of {len(ranking.names):,} images kept in {folder.path / KEPT}")
    display.say(f"most doubtful: {', '.join(ranking.names[row] for row in ranking.order[:3])}")
    display.say(f"Open {folder.path / PAGE}; all scores are in {folder.path / TABLE}")


def facts_of(run: Run) -> list[tuple[str, str]]:
    """What the page says of the scoring."""
    inputs, posterior = work.images_inputs(run), run.config.posterior
    names = " on ".join(dict.fromkeys(model_names(run)[::-1]))
    found = [("Model", names.replace("_", " ")), ("Seed", str(inputs.seed))]
    if inputs.posterior is not None:
        found.append(("Posterior", f"{posterior.name.replace('_', ' ')}, {inputs.resources.draws} draws"))
    return found
