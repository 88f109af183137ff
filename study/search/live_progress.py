"""Progress of a search while it runs: a line for each search on a terminal, else a log line."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from study.common.progress import LINE_SECONDS
from study.records.trial_record import Phase, TrialRecord, TrialStatus


class Watch:
    """Counts finished runs; shows trials done, the best accuracy so far and the time left.

    Args:
        planned: trials of each search over all repeats, by optimizer or "joint".
        epochs: of everything that is going to be trained, the measure of the time left.
        known: records of an earlier run of the study; they count as done.
    """

    def __init__(
        self, planned: Mapping[str, int], epochs: int, known: Iterable[TrialRecord]
    ) -> None:
        self.planned, self.epochs = planned, epochs
        self._done: dict[str, int] = defaultdict(int)
        self._best: dict[str, float] = {}
        self._trained = 0  # epochs
        for record in known:
            self._count(record)
        self._before = self._trained
        self._start = self._last = time.monotonic()
        self._console = Console(stderr=True, soft_wrap=True, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f} trials  {task.fields[best]}"),
            console=self._console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._total: TaskID | None = None

    def __enter__(self) -> "Watch":
        if self._console.is_terminal:
            for name, trials in self.planned.items():
                self._tasks[name] = self._bars.add_task(name, total=trials, best="")
            self._bars.start()
            self.add([])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._tasks:
            self._bars.stop()

    def add(self, records: Iterable[TrialRecord]) -> None:
        """Show that these runs are finished."""
        for record in records:
            self._count(record)
        if self._tasks:
            for name, task in self._tasks.items():
                best = f"best {self._best[name]:.3f}" if name in self._best else ""
                left = f"  {self._left()}" if name == next(iter(self._tasks)) else ""
                self._bars.update(task, completed=self._done[name], best=best + left)
        elif time.monotonic() - self._last >= LINE_SECONDS:
            self._last = time.monotonic()
            self._console.print(self._line())

    def _count(self, record: TrialRecord) -> None:
        self._trained += record.epochs - record.initial_epoch
        if record.phase != Phase.SEARCH:
            return
        name = record.search
        self._done[name] += 1
        if record.status == TrialStatus.COMPLETED:
            self._best[name] = max(self._best.get(name, 0.0), record.best_val_accuracy)

    def _left(self) -> str:
        trained = self._trained - self._before
        if not trained:
            return ""
        seconds = (time.monotonic() - self._start) / trained * max(self.epochs - self._trained, 0)
        return f"{seconds / 60:.0f} min left" if seconds > 90 else f"{seconds:.0f} s left"

    def _line(self) -> str:
        done, planned = sum(self._done.values()), sum(self.planned.values())
        best = max(self._best, key=lambda name: self._best[name], default="")
        words = f", best so far {best} {self._best[best]:.3f}" if best else ""
        return f"search: {done}/{planned} trials{words}, {self._left()}"
