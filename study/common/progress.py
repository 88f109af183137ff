"""Progress for a user to watch: a live bar on a terminal, a line now and then in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

LINE_SECONDS = 10.0  # between two lines where there is no terminal


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
    start = printed = time.monotonic()
    done = 0

    def advance(count: int) -> None:
        nonlocal done, printed
        done += count
        now = time.monotonic()
        rate = done / max(now - start, 1e-9)
        bars.update(task, completed=done, rate=f"{rate:.1f} {unit}/s")
        if not console.is_terminal and (done >= total or now - printed >= LINE_SECONDS):
            printed = now
            left = (total - done) / rate if rate else 0.0
            line = f"{description} {done}/{total}, {rate:.1f} {unit}/s, {left:.0f} s left"
            console.print(line, highlight=False, soft_wrap=True)

    with bars if console.is_terminal else nullcontext():
        yield advance
