"""A stand-in for wandb's service, for `wandb sync`: it remembers what it is told of runs, and refuses all else."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def log_message(self, *args: Any) -> None:
        """Silent."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        answer: dict[str, Any] = {}
        if self.path.endswith("/graphql"):
            answer = self.graphql(**json.loads(body))
        elif self.path.endswith("/file_stream"):
            answer = self.stream(json.loads(body))
        whole = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(whole)))
        self.end_headers()
        self.wfile.write(whole)

    def graphql(self, query: str, variables: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        if "UpsertBucket" not in query or variables is None:
            return {"data": {}, "errors": [{"message": "not here"}]}
        known = self.server.runs.setdefault(variables["name"], {"history": []})
        known.update({key: value for key, value in variables.items() if value is not None})
        project = {"id": "1", "name": variables["project"], "entity": {"id": "1", "name": "us"}}
        shown = {"id": "1", "name": variables["name"], "historyLineCount": len(known["history"]), "project": project}
        return {"data": {"upsertBucket": {"bucket": shown, "inserted": not known["history"]}}}

    def stream(self, content: dict[str, Any]) -> dict[str, Any]:
        """Lines of history from an offset on, as the service keeps them."""
        history = self.server.runs[self.path.split("/")[4]]["history"]
        lines = (content.get("files") or {}).get("wandb-history.jsonl", {"offset": len(history), "content": []})
        history[lines["offset"] :] = map(json.loads, lines["content"])
        return {}


class Service(ThreadingHTTPServer):
    """Listens on this machine alone; `runs` by id, each with what it was begun with and its `history`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.runs: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Service:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *args: object) -> None:
        self.shutdown()
        self.server_close()


def synced(folder: Path, home: Path) -> dict[str, dict[str, Any]]:
    """What `wandb sync FOLDER/logs/wandb/offline-run-*` tells the service."""
    with Service() as service:
        own = {"WANDB_BASE_URL": f"http://127.0.0.1:{service.server_port}", "WANDB_API_KEY": "a" * 40}
        own |= dict.fromkeys(("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "HOME"), str(home))
        paths = map(str, sorted((folder / "logs" / "wandb").glob("offline-run-*")))
        command = [sys.executable, "-m", "wandb", "sync", "--yes", *paths]
        subprocess.run(command, env=os.environ | own, check=True, capture_output=True, timeout=120, cwd=home)
        return service.runs
