"""The hub: what lies in the cache is used, nothing is fetched unasked, and what is fetched is said first."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import huggingface_hub
import pytest
from rich.console import Console

from genuq.display import Display
from genuq.errors import ConfigurationError
from genuq.pretrained.hub import folder_of, wanted

NAME, COMMIT = "someone/small", "a" * 40
FILES = {
    "model_index.json": b'{"_class_name": "DDPMPipeline"}',
    "unet/config.json": b"{}",
    "unet/diffusion_pytorch_model.safetensors": b"weights",
    "unet/diffusion_pytorch_model.bin": b"pickled",
    "unet/diffusion_pytorch_model.fp16.safetensors": b"half",
    "whole.safetensors": b"all in one",
    "scripts/run.py": b"raise SystemExit",
}
READ = ["model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors"]


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's protocol as a snapshot needs."""

    asked: list[str]

    def log_message(self, *parts: object) -> None:
        pass

    def answer(self, body: bytes, headers: dict[str, str] | None = None, code: int = 200) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_GET(self) -> None:
        place = self.path.split("?")[0]
        if place.startswith(f"/api/models/{NAME}/tree/"):
            entries = [
                {"type": "file", "path": name, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
                for name, body in FILES.items()
            ]
            self.answer(json.dumps(entries).encode())
        elif place.startswith(f"/api/models/{NAME}"):
            siblings = [{"rfilename": name, "size": len(body)} for name, body in FILES.items()]
            self.answer(json.dumps({"id": NAME, "sha": COMMIT, "siblings": siblings}).encode())
        elif place.startswith(f"/{NAME}/resolve/") and (name := place.split("/", 5)[5]) in FILES:
            Hub.asked.append(name)
            mark = hashlib.sha1(FILES[name]).hexdigest()
            self.answer(FILES[name], {"ETag": f'"{mark}"', "X-Repo-Commit": COMMIT})
        else:
            self.answer(b"", {"X-Error-Code": "RepoNotFound"}, 404)

    do_HEAD = do_GET


@pytest.fixture()
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    Hub.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def said() -> Display:
    return Display(Console(file=io.StringIO(), width=200))


def test_nothing_executable_and_no_variant_is_wanted() -> None:
    assert wanted(FILES) == READ


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert folder_of(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("name", ["nowhere", "a/b/c", "./some/where", "http://x/y"])
def test_what_is_neither_a_folder_nor_a_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"model\.pretrained = '.*' is no folder"):
        folder_of(name)


def test_nothing_is_fetched_unasked(hub: str) -> None:
    with pytest.raises(ConfigurationError, match=r"has no copy.*model\.download=true"):
        folder_of(NAME, endpoint=hub)
    assert not Hub.asked


def test_what_is_fetched_is_said_first_and_is_there_the_next_time(hub: str) -> None:
    display = said()
    folder = folder_of(NAME, download=True, display=display, endpoint=hub)
    total = sum(len(FILES[name]) for name in READ)
    assert f"Downloading {NAME}: 3 files, {total} bytes" in display.console.file.getvalue()
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == set(READ) == set(Hub.asked)
    assert folder_of(NAME, endpoint="http://127.0.0.1:9") == folder, "the cache needs no hub"


def test_a_name_that_the_hub_does_not_know(hub: str) -> None:
    with pytest.raises(ConfigurationError, match=r"could not be downloaded.*Check the name"):
        folder_of("someone/else", download=True, display=said(), endpoint=hub)


def test_offline_is_honoured(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigurationError, match="HF_HUB_OFFLINE"):
        folder_of(NAME, download=True, display=said(), endpoint=hub)
    assert not Hub.asked
