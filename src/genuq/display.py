"""What a run shows while it works: one progress bar a piece of work, and a line when a stage ends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Display:
    """Progress bars and lines on a terminal; plain lines where the output is no terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)

    def busy(self, what: str) -> contextlib.AbstractContextManager[object]:
        """A turning wheel while something of unknown length runs."""
        return self.console.status(escape(what))

    @contextlib.contextmanager
    def bar(self, what: str, total: int) -> Iterator[Callable[[float], None]]:
        """A progress bar; call the yielded function with the number of items just done."""
        columns = (
            TextColumn("{task.description:<26}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(escape(what), total=total)
            yield lambda done: progress.update(task, advance=done)
