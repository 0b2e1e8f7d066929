#!/usr/bin/env bash
# optuna 5.0.0: after a writer was killed in the middle of a line, a journal opens once as if nothing had happened; the
# next trial makes it unreadable for good, with every trial that it held.
#
# The journal is the storage that Optuna's own documentation suggests for many processes on a shared disk, where jobs are
# killed all the time. Its reader passes over a last line that was cut short, so the study opens and lists its trials,
# and one would guess that the torn record is dropped. It is not: the next record is written behind the torn half, on
# the same line, and from then on every opening of the study raises JSONDecodeError. A search on SQLite whose writer is
# killed goes on. Whoever resumes a search on a journal has to cut the file behind its last line feed first.
#
# Seen (optuna 5.0.0, Python 3.11):
#   whole: 5 trials
#   last line cut short, opened: 5 trials
#   one more trial: JSONDecodeError
#   opened again: JSONDecodeError
#   cut behind the last line feed, one more trial: 6 trials
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check optuna==5.0.0
cat > "$folder/try.py" <<'P'
import json
import pathlib

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

optuna.logging.set_verbosity(optuna.logging.ERROR)
place = pathlib.Path(__file__).with_name("journal.log")


def study():
    storage = JournalStorage(JournalFileBackend(str(place)))
    return optuna.create_study(study_name="search", storage=storage, load_if_exists=True)


def trials(more=0):
    try:
        if more:
            study().optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=more)
        return f"{len(study().trials)} trials"
    except json.JSONDecodeError as error:
        return type(error).__name__


def said(what, found, expected):
    print(f"{what}: {found}")
    assert found == expected, (what, found, expected)


said("whole", trials(more=5), "5 trials")
# As a process leaves it that is killed while it writes: half of the last record is there.
start = place.read_bytes().rstrip(b"\n").rfind(b"\n") + 1
record = place.read_bytes()[start:]
torn = place.read_bytes()[: start + len(record) // 2]
place.write_bytes(torn)
said("last line cut short, opened", trials(), "5 trials")
said("one more trial", trials(more=1), "JSONDecodeError")
said("opened again", trials(), "JSONDecodeError")
place.write_bytes(torn[: torn.rfind(b"\n") + 1])
said("cut behind the last line feed, one more trial", trials(more=1), "6 trials")
P
"$folder/venv/bin/python" "$folder/try.py"
