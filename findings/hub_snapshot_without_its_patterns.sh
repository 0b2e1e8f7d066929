#!/usr/bin/env bash
# huggingface_hub 2.4: a snapshot that was downloaded by patterns is not found offline unless the patterns are given again.
#
# Pipelines are fetched with `snapshot_download(name, allow_patterns=[...])`, so as not to fetch every format and variant
# of the weights. In 1.0.0 `snapshot_download(name, local_files_only=True)` then gives the folder of the snapshot,
# whatever it holds. In 2.4.0 the cache remembers the list of all files of the repository, and the same call raises
# IncompleteSnapshotError, a LocalEntryNotFoundError: code that asks the cache first, and downloads on that error, fetches
# everything that the patterns had left out, or fails offline beside a copy that is all it needs. With the same
# allow_patterns the folder is found.
#
# Seen with huggingface_hub 2.4.0 and 1.0.0, Python 3.11, against a small server of the hub's protocol on this machine:
#     2.4.0 without patterns: IncompleteSnapshotError; with them: the folder
#     1.0.0 without patterns: the folder; with them: the folder
#
# Fails (exit status 1) if that changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
for version in 2.4.0 1.0.0; do
  "${PYTHON:-python3}" -m venv "$place/venv-$version"
  "$place/venv-$version/bin/pip" install --quiet --disable-pip-version-check huggingface_hub==$version
done
cat > "$place/seen.py" <<'PYTHON'
import hashlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import huggingface_hub

NAME, COMMIT = "someone/small", "a" * 40
FILES = {"config.json": b"{}", "model.safetensors": b"weights", "model.onnx": b"another format"}


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's protocol as a snapshot needs."""

    def log_message(self, *parts):
        pass

    def answer(self, body, **headers):
        self.send_response(200)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_GET(self):
        place = self.path.split("?")[0]
        if place.startswith(f"/api/models/{NAME}/tree/"):
            rows = [{"type": "file", "path": n, "size": len(b), "oid": "0" * 40} for n, b in FILES.items()]
            self.answer(json.dumps(rows).encode())
        elif place.startswith(f"/api/models/{NAME}"):
            self.answer(json.dumps({"id": NAME, "sha": COMMIT, "siblings": [{"rfilename": n} for n in FILES]}).encode())
        else:
            body = FILES[place.rsplit("/", 1)[1]]
            self.answer(body, ETag=f'"{hashlib.sha1(body).hexdigest()}"', X_Repo_Commit=COMMIT)

    do_HEAD = do_GET


server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
Thread(target=server.serve_forever, daemon=True).start()
hub, cache = f"http://127.0.0.1:{server.server_address[1]}", sys.argv[1]
patterns = ["*.json", "*.safetensors"]
huggingface_hub.snapshot_download(NAME, allow_patterns=patterns, endpoint=hub, cache_dir=cache)


def offline(**given):
    try:
        huggingface_hub.snapshot_download(NAME, local_files_only=True, endpoint=hub, cache_dir=cache, **given)
    except huggingface_hub.errors.LocalEntryNotFoundError as error:
        return type(error).__name__
    return "the folder"


print(f"{huggingface_hub.__version__} without patterns: {offline()}; with them: {offline(allow_patterns=patterns)}")
PYTHON
for version in 2.4.0 1.0.0; do
  "$place/venv-$version/bin/python" "$place/seen.py" "$place/cache-$version" 2>/dev/null | tee -a "$place/seen"
done
diff - "$place/seen" <<'SEEN'
2.4.0 without patterns: IncompleteSnapshotError; with them: the folder
1.0.0 without patterns: the folder; with them: the folder
SEEN
