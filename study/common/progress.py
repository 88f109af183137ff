"""Progress that a user can watch: a live bar on a terminal, a line now and then in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

LINE_SECONDS = 10.0  # between two lines where there is no terminal


@contextmanager
def progress(description: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Show `description`, done/total, `unit`/s and the time left; yields `advance(count)`."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(description, total, unit)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        task = bars.add_task(description, total=total, rate="")
        start, done = time.monotonic(), 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            rate = done / max(time.monotonic() - start, 1e-9)
            bars.update(task, completed=done, rate=f"{rate:.1f} {unit}/s")

        yield advance


def _lines(description: str, total: int, unit: str) -> Callable[[int], None]:
    console = Console(stderr=True, soft_wrap=True)
    start, last, done = time.monotonic(), time.monotonic(), 0

    def advance(count: int) -> None:
        nonlocal last, done
        done += count
        now = time.monotonic()
        if done < total and now - last < LINE_SECONDS:
            return
        last = now
        rate = done / max(now - start, 1e-9)
        left = (total - done) / rate if rate else 0.0
        console.print(
            f"{description} {done}/{total}, {rate:.1f} {unit}/s, {left:.0f} s left", highlight=False
        )

    return advance
