"""What README.md and the other documents point at exists: files, headings, options, stages and defaults."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from genuq.config import schemas
from genuq.config.compose import choices_of

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
README = ROOT / "README.md"
OPTIONS = ROOT / "docs" / "options.md"
FENCE = re.compile(r"^( *)(```+).*?^ *\2 *$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(.*?) *#*$", re.MULTILINE)
LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)")
OF_A_READER = {"spectral", "warm", "toy", "NAME", "..."}  # options that the documents have a reader make


def documents() -> list[Path]:
    found = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    return found + [path for folder in ("docs", "experiments", "examples") for path in (ROOT / folder).rglob("*.md")]


def prose_of(text: str) -> str:
    """Without the blocks and pieces of code, in which brackets and number signs are none of Markdown's."""
    return re.sub(r"`+[^`\n]*`+", "code", FENCE.sub("", text))


def anchors_of(text: str) -> set[str]:
    """As GitHub makes them of headings: small letters, hyphens for spaces, no other signs; repeated ones numbered."""
    seen: Counter[str] = Counter()
    anchors = set()
    for heading in HEADING.findall(FENCE.sub("", text)):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        anchors.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return anchors


def broken_links(document: Path) -> list[str]:
    """Relative links of a document that lead to no file, no folder or no heading."""
    return [link for link in LINK.findall(prose_of(document.read_text())) if not resolves(document, link)]


def resolves(document: Path, link: str) -> bool:
    if re.match(r"[a-z]+:", link):
        return True
    place, _, anchor = unquote(link).partition("#")
    target = document.parent / place if place else document
    if anchor and target.is_dir():
        target /= "README.md"
    return target.exists() and (not anchor or anchor in anchors_of(target.read_text()))


def blocks() -> Iterator[tuple[str, str]]:
    """(document, block of code), but for those of examples, whose options are their own."""
    for path in documents():
        if path.is_relative_to(ROOT / "examples"):
            continue
        for match in FENCE.finditer(path.read_text()):
            yield str(path.relative_to(ROOT)), match.group()


def table_row(path: Path, first: str) -> list[str]:
    """Cells of the one row of a document's tables whose first cell has a text."""
    rows = [line.strip("|").split("|") for line in path.read_text().splitlines() if line.startswith("|")]
    (row,) = [row for row in rows if first in row[0]]
    return row


def names_in(text: str) -> set[str]:
    return set(re.findall(r"`([a-z0-9_]+)`", text))


def options_of(group: str) -> set[str]:
    return {path.stem for path in (CONF / group).glob("*.yaml")}


def test_every_relative_link_leads_to_a_file_and_a_heading() -> None:
    broken = {str(path.relative_to(ROOT)): links for path in documents() if (links := broken_links(path))}
    assert broken == {}


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "README.md").write_text("# A `word`, twice\n## Again\n## Again\n```\n# no heading\n```\n")
    good = "[a](folder) [b](folder#a-word-twice) [c](folder#again-1) [d](#here) [e](https://example.org) `[f](code)`"
    page.write_text(f"# Here\n{good}\n[g](missing.md) [h](folder#no-heading) ![i](#there)\n")
    assert broken_links(page) == ["missing.md", "folder#no-heading", "#there"]


def test_the_readme_links_every_page_of_docs() -> None:
    linked = set(LINK.findall(README.read_text()))
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"docs/{page.name}" not in linked] == []


def test_the_readme_names_every_option() -> None:
    groups = ["data", "model", "network", "sampler", "posterior", "likelihood", "propagator", "metric", "application"]
    named = {group: names_in("".join(table_row(README, f"`{group}`")[1:])) for group in [*groups, "trainer"]}
    missing = {group: options_of(group) - named[group] for group in groups}
    missing["trainer, logger"] = (options_of("trainer") | options_of("logger")) - named["trainer"]
    assert {group: names for group, names in missing.items() if names} == {}


def test_the_page_of_options_names_every_score() -> None:
    section = OPTIONS.read_text().partition("## Scores")[2].partition("\n## ")[0]
    assert options_of("score") - names_in(section) == set()


def test_options_in_commands_exist() -> None:
    groups = {folder.name for folder in CONF.iterdir() if folder.is_dir()} - {"hydra"}
    unknown = []
    for document, block in blocks():
        commands = re.sub(r"#.*", "", block) if re.search(r"^genuq ", block, re.MULTILINE) else ""
        for group, values in re.findall(r"(?<![\w./@'])([a-z_]+)=([\w.,]+)", commands):
            if group in groups:
                wrong = set(values.split(",")) - options_of(group) - OF_A_READER
                unknown += [f"{document}: {group}={value}" for value in sorted(wrong)]
    assert unknown == []


def test_the_row_of_stages_is_that_of_the_configuration() -> None:
    stages = yaml.safe_load((CONF / "config.yaml").read_text())["stages"]
    assert " → ".join(["train", "judge", *stages]) in (ROOT / "docs" / "runs.md").read_text()


def test_the_table_of_defaults_is_that_of_the_configuration() -> None:
    page = ROOT / "docs" / "defaults.md"
    schemas.register()
    for model in sorted(options_of("model")):
        rows = [line for line in page.read_text().splitlines() if line.startswith("| `model=")]
        (row,) = [line.strip("|").split("|") for line in rows if re.search(rf"[`=]{model}`", line.split("|")[1])]
        chosen = choices_of([f"model={model}"])
        assert chosen["score"] in names_in(row[1]) and chosen["posterior"] in names_in(row[2]), model


@pytest.mark.slow
def test_the_first_lines_of_the_library_s_page_run_and_print_what_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "library.md").read_text()
    shown = re.findall(r"^```(?:python)?\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    exec(compile(shown[0], "docs/library.md", "exec"), {})
    trusted, doubted = (int(share) for share in re.findall(r"(\d+)%", capsys.readouterr().out))
    said = [int(share) for share in re.findall(r"(\d+)%", shown[1])]
    assert doubted > trusted + 30
    assert abs(trusted - said[0]) <= 3 and abs(doubted - said[1]) <= 3  # two images of 64, on another processor
