"""Progress for a user to watch: a live bar on a terminal, a line now and then in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

FIRST, LINE_SECONDS = 1.0, 10.0  # before the first line, between two; where there is no terminal


@contextmanager
def progress(description: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Show `description`, done/total, `unit`/s and the time left; yield `advance(count)`."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    bars = Progress(*columns, console=console, redirect_stdout=False)  # it may be a file
    task = bars.add_task(description, total=total, rate="")
    live = console.is_terminal
    start = time.monotonic()
    due = start + FIRST
    done = 0

    def advance(count: int) -> None:
        nonlocal done, due
        done += count
        now = time.monotonic()
        rate = done / max(now - start, 1e-9)
        if live:
            bars.update(task, completed=done, rate=f"{rate:.1f} {unit}/s")
        elif now >= due or (done >= total and now - start >= FIRST):
            due = now + LINE_SECONDS
            left = (total - done) / rate if rate else 0.0
            line = f"{description} {done}/{total}, {rate:.1f} {unit}/s, {left:.0f} s left"
            console.print(line, highlight=False, soft_wrap=True)

    with bars if live else nullcontext():
        yield advance
