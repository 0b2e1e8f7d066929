"""A store that mirrors an object store: what one machine makes another finds, whole and once, and locks hold there."""

from __future__ import annotations

import io
import re
import socket
import threading
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from genuq import files
from genuq.display import Display
from genuq.errors import ArtefactError, ConfigurationError, StorageError
from genuq.pipeline.sharded import deal
from genuq.store import remote
from genuq.store.artefact import StageFolder, brought
from genuq.store.once import make_once
from genuq.store.records import RUNS
from genuq.store.remote import WHERE, Objects, Remote, remote_of, store_folder, url_of
from genuq.store.store import Store
from support.programs import environment, finished, start
from support.small_runs import POINTS, content, launch

LIVE = find_spec("moto") is not None and find_spec("s3fs") is not None


@pytest.fixture(params=["memory", pytest.param("s3", marks=pytest.mark.skipif(not LIVE, reason="moto, s3fs"))])
def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty store: of a real S3 server of this machine, or of fsspec's memory."""
    if request.param == "memory":
        monkeypatch.setattr(remote, "PROTOCOLS", remote.PROTOCOLS | {"memory": "fsspec"})
        return f"memory://bucket/{uuid.uuid4().hex}"
    for name, value in request.getfixturevalue("server").items():
        monkeypatch.setenv(name, value)
    return f"s3://bucket/{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def server() -> Iterator[dict[str, str]]:
    """The variables by which S3's clients find a local server that has a bucket."""
    import s3fs
    from moto.server import ThreadedMotoServer

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serving = ThreadedMotoServer(ip_address="127.0.0.1", port=port)
    serving.start()
    known = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    s3fs.S3FileSystem(key="x", secret="x", endpoint_url=known["AWS_ENDPOINT_URL"]).mkdir("bucket")
    yield known
    serving.stop()


def machine(name: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the store on one of several machines."""
    monkeypatch.setenv("GENUQ_CACHE", str(tmp_path / name))
    return store_folder(url)


def quiet() -> Display:
    return Display(Console(file=io.StringIO(), width=200))


def made_on(store: Path, content: str = "content") -> bool:
    """Whether the artefact was made there now."""
    folder = StageFolder.in_store(store, {"stage": "x"})
    with make_once(folder, "x", quiet()) as making:
        if making.here:
            files.write_text(folder.path / "below" / "file", content)
    return making.here


def test_a_mirror_whose_place_cannot_be_read_is_not_taken_for_a_folder(tmp_path: Path) -> None:
    """What it made would never reach the object store; a name that no folder can have is none."""
    (tmp_path / WHERE).mkdir()
    with pytest.raises(OSError, match=WHERE):
        remote_of(tmp_path)
    assert remote_of(tmp_path / "none") is None and remote_of(tmp_path / ("s" * 300)) is None


def test_what_one_machine_made_another_finds(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (machine(name, url, tmp_path, monkeypatch) for name in ("one", "two"))
    assert one != two and made_on(one) and not made_on(two)
    (file,) = two.glob("x/*/below/file")
    assert file.read_text() == "content" and not Store(two).broken()
    assert StageFolder.in_store(two, {"stage": "x"}).is_current()


def test_a_look_brings_no_files_and_the_first_use_does(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (machine(name, url, tmp_path, monkeypatch) for name in ("one", "two"))
    made_on(one)
    (artefact,) = Store(two).artefacts()
    assert artefact.is_finished and artefact.bytes == len("content") and not list(two.glob("x/*/below"))
    assert (brought(artefact.path) / "below" / "file").read_text() == "content"
    StageFolder(artefact.path, {}).verify(thoroughly=False)


def test_what_was_altered_there_is_named(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (machine(name, url, tmp_path, monkeypatch) for name in ("one", "two"))
    made_on(one)
    (path,) = one.glob("x/*")
    known = remote_of(one)
    assert known is not None
    known.put(f"x/{path.name}/below/file", b"CONTENT")
    with pytest.raises(ArtefactError, match=rf"{re.escape(url)}/x/.*below/file was altered.*Delete {re.escape(url)}"):
        made_on(two)
    known.remove(f"x/{path.name}/below/file")
    with pytest.raises(ArtefactError, match="below/file is missing"):
        made_on(two)
    assert not list(two.rglob("*.partial"))


def test_what_is_not_written_up_whole_is_unfinished(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection ends with the last file: the manifest, which comes after it, is nowhere, here neither."""
    one, two = (machine(name, url, tmp_path, monkeypatch) for name in ("one", "two"))
    with monkeypatch.context() as patched:
        patched.setattr(Remote, "send", lambda self, path: self.asked(lambda: 1 / 0))
        with pytest.raises(StorageError, match=f"store = {url} did not answer.*run the same command again"):
            made_on(one)
    assert not list(one.glob("x/*/manifest.json")) and made_on(two) and not made_on(one)


def test_the_notes_of_leases_are_new_or_not(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = machine("one", url, tmp_path, monkeypatch)
    shelf = Objects(Remote(store, url), "locks")
    assert shelf.create("x.1", b"a") and not shelf.create("x.1", b"b") and shelf.read("x.1") == b"a"
    shelf.write("x.1", b"c")
    assert shelf.read("x.1") == b"c" and shelf.names("x.") == ["x.1"] and shelf.names("y") == []
    shelf.remove("x.1")
    shelf.remove("x.1")
    assert shelf.read("x.1") is None and shelf.create("x.1", b"d")
    shelf.clear()
    shelf.clear()
    assert shelf.names("") == []


def test_of_many_that_try_at_once_one_gets_the_lock(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = machine("one", url, tmp_path, monkeypatch)
    held, got = [StageFolder.in_store(store, {"stage": "x"}).lease() for _ in range(8)], []
    threads = [threading.Thread(target=lambda lease=lease: got.append(lease.attempt())) for lease in held]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(got) == 1
    next(lease for lease in held if lease.number).release()
    assert StageFolder.in_store(store, {"stage": "x"}).lease().attempt()


def test_machines_make_the_shards_of_one_artefact_together(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each shard once; one of them came from a machine that is gone."""
    stores = [machine(name, url, tmp_path, monkeypatch) for name in ("gone", "one", "two")]
    sampler: Any = type("Sampler", (), {"samples": 12, "batch_size": 2})
    made: list[int] = []

    def run(store: Path, last: bool = False) -> None:
        folder = StageFolder.in_store(store, {"stage": "sample"})

        def make(indices: list[int], advance: Any) -> dict[str, torch.Tensor]:
            if last and made:
                raise KeyboardInterrupt
            made.append(indices[0])
            files.write_tensors(folder.path / "path" / f"{indices[0]}.safetensors", {"x": torch.tensor(indices)})
            return {"index": torch.tensor(indices)}

        with make_once(folder, "sample", quiet(), shared=True, together=True) as making:
            if making.here:
                deal(sampler, folder, make, quiet(), "sampling")

    with pytest.raises(KeyboardInterrupt):
        run(stores[0], last=True)
    threads = [threading.Thread(target=run, args=(store,)) for store in stores[1:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [0, 2, 4, 6, 8, 10]
    one, two = ({path.name: path.read_bytes() for path in store.glob("sample/*/**/*.safet*")} for store in stores[1:])
    assert one == two and len(one) == 12
    assert not Store(stores[1]).broken() and remote_of(stores[1]).listed("locks/sample") == {}  # type: ignore[union-attr]


def test_what_is_removed_is_gone_there(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (machine(name, url, tmp_path, monkeypatch) for name in ("one", "two"))
    made_on(one)
    store = Store(two)
    (artefact,) = store.unused()
    store.remove(artefact)
    assert Store(two).artefacts() == [] and not remote_of(two).listed("x")  # type: ignore[union-attr]


def test_records_are_brought_when_they_changed(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (machine(name, url, tmp_path, monkeypatch) for name in ("one", "two"))
    here, there = remote_of(one), remote_of(two)
    assert here is not None and there is not None
    record = one / RUNS / "study" / f"{'0' * 16}.json"
    files.write_json(record, {"a": 1})
    here.send(record)
    there.bring_records()
    assert files.read_json(two / RUNS / "study" / record.name) == {"a": 1}
    files.write_json(record, {"a": 22})
    here.send(record)
    there.bring_records()
    assert files.read_json(two / RUNS / "study" / record.name) == {"a": 22}
    here.remove(here.name_of(record))
    there.bring_records()
    assert not (two / RUNS / "study" / record.name).exists()


def test_a_service_that_writes_over_what_it_should_spare_is_refused(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = machine("one", url, tmp_path, monkeypatch)
    known = Remote(store, url)
    known.check()
    put = Remote.put
    monkeypatch.setattr(Remote, "put", lambda self, name, content, new=False: put(self, name, content))
    with pytest.raises(StorageError, match=f"store = {url}: this service writes over.*locks would not hold"):
        known.check()
    assert known.listed("locks") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ftp://host/store", "store = ftp://host/store: stores can be a folder, or s3://bucket/prefix"),
        ("s3://", r"store = s3://: give a bucket"),
        ("s3://bucket/../up", r"give a bucket and a prefix of plain names"),
        ("s3://bucket/a?b", r"give a bucket and a prefix of plain names"),
    ],
)
def test_what_no_store_can_be_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        store_folder(text)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"store = gs://b/p needs gcsfs: pip install 'genuq\[remote\]'"):
        store_folder("gs://b/p")


def test_a_folder_stays_a_folder(tmp_path: Path) -> None:
    assert store_folder(tmp_path / "store") == tmp_path / "store" and remote_of(tmp_path) is None
    assert url_of("outputs/store") is None and url_of("/a:b/c") is None and url_of(Path("s3://b/p")) == "s3://b/p"


RUN = "import sys; from genuq.cli.main import main; main()"


@pytest.mark.slow
@pytest.mark.skipif(not LIVE, reason="moto, s3fs")
def test_a_run_on_s3_leaves_the_bytes_of_one_in_a_folder_and_commands_read_it(
    server: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    url = f"s3://bucket/{uuid.uuid4().hex}"
    machine("one", url, tmp_path, monkeypatch)
    launch(tmp_path / "run", *POINTS, f"store={url}")
    launch(tmp_path / "local", *POINTS)
    other = machine("two", url, tmp_path, monkeypatch)
    plan = tmp_path / "plan"
    plan.mkdir()
    variables: Any = {"folder": plan, "variables": environment()}
    told = finished(start(RUN, "plan", "--no-calibration", "--json", *POINTS, f"store={url}", **variables))
    assert '"to_make": 0' in told.stdout, told.stderr
    assert not list(other.rglob("*.safetensors")), "a plan brings no samples"
    launch(tmp_path / "again", *POINTS, f"store={url}")
    alone = content(tmp_path / "local")
    assert of_store(other).items() <= alone.items(), "what it needed of the others was brought, as it was"
    assert not Store(other).broken() and of_store(other) == alone, "a verification brings the rest"
    listed = finished(start(RUN, "store", "list", "--store", url, **variables))
    assert "7 artefacts" in listed.stdout, listed.stderr


def of_store(store: Path) -> dict[str, bytes]:
    told = {"manifest.json", "results.json"}
    skipped = ("runs", "locks", "jobs", "references")
    paths = [p for stage in store.iterdir() if stage.is_dir() and stage.name not in skipped for p in stage.rglob("*")]
    return {
        str(path.relative_to(store)): path.read_bytes() for path in paths if path.is_file() and path.name not in told
    }
