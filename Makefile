# Each target does all the set-up that it needs, on a fresh machine with Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart leaderboard test test-slow lint types browser clean

quickstart: .venv/installed
	$(BIN)/genuq experiment=quickstart

# From nothing on two cores; QUICK=1 is the small form. Called again it goes on where it stopped.
leaderboard: .venv/installed
	$(BIN)/genuq leaderboard $(if $(QUICK),--quick)

test: .venv/installed browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder

test-slow: .venv/installed browser
	$(BIN)/python -m pytest -m slow

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed
	$(BIN)/mypy

.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[dev]"
	touch $@

# The report is tested in real Chromium. Without it, and without the right to install it, those tests are skipped.
browser:
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null \
	  || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq chromium chromium-driver >/dev/null; } \
	  || echo "no Chromium: the tests of the page will be skipped (install chromium and chromium-driver)"

clean:
	rm -rf .venv outputs
