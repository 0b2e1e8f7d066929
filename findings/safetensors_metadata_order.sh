#!/usr/bin/env bash
# safetensors 0.8.0: the same tensors with the same metadata are other bytes each time that they are saved.
#
# One would guess that a format made for plain, comparable files is deterministic: tensors are laid out in a fixed order
# (by type and name), and with no metadata or one entry of it the bytes do agree. With two or more entries the header
# lists them in the order of a randomly seeded hash table, so that digests of a checkpoint differ between processes that
# computed the same, and even between two saves of one process. Whoever addresses files by content, or proves a resumed
# training identical by its checkpoint's digest, has to put all metadata into one entry (JSON with sorted keys), or to
# compare tensors and not files.
#
# Seen (safetensors 0.8.0, numpy 2.3.5, Python 3.11):
#   no metadata: 1 digest of 8 processes
#   one entry: 1 digest of 8 processes
#   six entries: 7 digests of 8 processes (5 to 8 from run to run)
#   8 saves of one process: differ
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.3.5
cat > "$folder/try.py" <<'P'
import hashlib
import subprocess
import sys

import numpy
from safetensors.numpy import save

ENTRIES = {"none": None, "one": {"step": "7"}, "six": {name: name for name in ("a", "b", "c", "d", "e", "f")}}


def digest(kind):
    return hashlib.sha256(save({"weight": numpy.arange(6.0)}, ENTRIES[kind])).hexdigest()


if len(sys.argv) > 1:
    print(digest(sys.argv[1]))
    raise SystemExit
found = {
    kind: len({subprocess.check_output([sys.executable, __file__, kind]) for _ in range(8)}) for kind in ENTRIES
}
for kind, said in {"none": "no metadata", "one": "one entry", "six": "six entries"}.items():
    print(f"{said}: {found[kind]} digest{'s' if found[kind] > 1 else ''} of 8 processes")
saves = len({digest("six") for _ in range(8)})
print(f"8 saves of one process: {'differ' if saves > 1 else 'agree'}")
# Six entries have 720 orders: that 8 of them agree by chance, or that fewer than 5 differ, is out of the question.
assert found["none"] == found["one"] == 1 and found["six"] >= 5 and saves > 1, (found, saves)
P
"$folder/venv/bin/python" "$folder/try.py"
