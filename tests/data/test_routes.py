"""The order of the routes, their verification and the cache, on a set of two small files."""

import hashlib
from pathlib import Path

import pytest

from genuq.data.routes import AbsentError, Route, Source, cache_folder, obtain
from genuq.errors import DataError

CONTENTS = {"a": b"first file", "b": b"second file"}


def read(folder: Path, file: str) -> bytes:
    if not (folder / file).is_file():
        raise AbsentError(f"{folder} lacks {file}")
    return (folder / file).read_bytes()


def package(contents: dict[str, bytes], label: str = "package", calls: list[str] | None = None) -> Route:
    def folder(scratch: Path) -> Path:
        if calls is not None:
            calls.append(label)
        for file, content in contents.items():
            (scratch / file).write_bytes(content)
        return scratch

    return Route(label, folder, downloads=True)


def offline(label: str) -> Route:
    def folder(scratch: Path) -> Path:
        raise AbsentError("no network")

    return Route(label, folder, downloads=True)


def source(*routes: Route) -> Source:
    digests = {file: hashlib.sha256(content).hexdigest() for file, content in CONTENTS.items()}
    return Source("tiny", digests, read, routes, "Carry it here by hand.")


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GENUQ_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tiny"


def test_the_first_route_that_works_is_taken_and_the_whole_set_cached(cache):
    calls: list[str] = []
    tiny = source(offline("one"), package(CONTENTS, "two", calls), package(CONTENTS, "three", calls))
    assert obtain(tiny, ["a"]) == {"a": CONTENTS["a"]}
    assert obtain(tiny, ["b"]) == {"b": CONTENTS["b"]}
    assert calls == ["two"], "the other file comes from the cache, the third route is never followed"
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == CONTENTS


def test_a_given_root_comes_before_the_cache_and_is_cached(cache, tmp_path):
    (tmp_path / "a").write_bytes(CONTENTS["a"])
    assert obtain(source(), ["a"], root=tmp_path) == {"a": CONTENTS["a"]}
    assert [path.name for path in cache.iterdir()] == ["a"]


def test_a_root_that_is_no_folder_is_an_error_before_any_route(cache, tmp_path):
    calls: list[str] = []
    with pytest.raises(DataError, match=r"root .*nowhere of tiny is not a folder"):
        obtain(source(package(CONTENTS, "package", calls)), ["a"], root=tmp_path / "nowhere")
    assert not calls


def test_a_root_without_the_files_is_passed_over_with_a_warning(cache, tmp_path):
    with pytest.warns(UserWarning, match="given root .* lacks a"):
        assert obtain(source(package(CONTENTS)), ["a"], root=tmp_path) == {"a": CONTENTS["a"]}


def test_a_corrupt_cache_file_is_named_and_fetched_again(cache):
    obtain(source(package(CONTENTS)), ["a"])
    (cache / "a").write_bytes(b"rotten")
    with pytest.warns(UserWarning, match=f"a in {cache} is corrupt"):
        assert obtain(source(package(CONTENTS)), ["a"]) == {"a": CONTENTS["a"]}
    assert (cache / "a").read_bytes() == CONTENTS["a"]


def test_altered_content_never_passes_and_never_reaches_the_cache(cache):
    with pytest.warns(UserWarning, match="b in .* is corrupt"), pytest.raises(DataError, match="found on no route"):
        obtain(source(package({**CONTENTS, "b": b"altered"})), ["a"])
    assert not cache.exists()


def test_the_error_lists_every_route_with_its_reason_and_a_remedy(cache, tmp_path):
    with pytest.warns(UserWarning), pytest.raises(DataError) as caught:
        obtain(source(offline("apt"), package({"a": b"altered"}, "npm")), ["a"], root=tmp_path)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("tiny was found on no route")
    for line, words in zip(
        lines[1:5], ["1. given root", "2. cache", "3. apt: no network", "4. npm: a in"], strict=True
    ):
        assert words in line
    assert lines[5] == "Carry it here by hand."


def test_a_cache_that_cannot_be_written_costs_a_warning_only(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("GENUQ_DATA", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="could not be cached"):
        assert obtain(source(package(CONTENTS)), ["a"]) == {"a": CONTENTS["a"]}


def test_the_cache_folder_follows_the_environment(monkeypatch):
    monkeypatch.setenv("GENUQ_DATA", "/somewhere/sets")
    assert cache_folder() == Path("/somewhere/sets")
    monkeypatch.delenv("GENUQ_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/genuq/data")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "genuq" / "data"
