"""Progress of a search while it runs: a bar for each search on a terminal, else lines of a log.

After each look (interim analysis) a line gives the leader, its bound, the optimizers still in the
race and what runs next.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from study.common.metrics import ACCURACY, WORDS
from study.common.progress import LINE_SECONDS
from study.common.text import at_most, counted, join
from study.records.trial_record import Phase, TrialRecord, TrialStatus
from study.report.analysis.conclusion import NAMED
from study.search.budget import JOINT
from study.search.expected_time import in_words
from study.search.plan import Plan
from study.search.protocol import Round
from study.verdicts.answer import Answer, Judged, Verdict


class Watch(AbstractContextManager["Watch"]):
    """Counts finished runs; shows trials done, the best value so far and the time left.

    The `known` records of an earlier run count as done. `where()` returns the workers elsewhere, in
    words; "" where this process trains. `left` returns the seconds for epochs that are left, from
    those that were trained and their seconds; None: they take as long as all has taken so far.
    """

    def __init__(
        self,
        plan: Plan,
        known: Iterable[TrialRecord],
        where: Callable[[], str] = lambda: "",
        left: Callable[[float, float, float], float] | None = None,
    ) -> None:
        self.plan, self._where, self._seconds_left = plan, where, left
        self.planned = {one.name: 0 for one in plan.searches}  # trials
        self.epochs = 0  # until the next look
        self._round = ""
        self._done: dict[str, int] = defaultdict(int)  # trials of each search
        self._best: dict[str, float] = {}
        self._metric = ""  # in words, unless it is accuracy
        self._trained, self._seconds = 0, 0.0  # epochs, and their training alone
        for record in known:
            self._count(record)
        self._before, self._seconds = self._trained, 0.0
        self._start = self._last = time.monotonic()
        self._console = Console(stderr=True, soft_wrap=True, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f} runs  {task.fields[best]}"),
            console=self._console,
        )
        self._tasks: dict[str, TaskID] = {}  # empty without a terminal

    def __enter__(self) -> "Watch":
        if self._console.is_terminal:
            for name in self.planned:
                self._tasks[name] = self._bars.add_task(name, total=1, best="", visible=False)
            self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._tasks:
            self._bars.stop()

    def begin(self, now: Round) -> None:
        """Show what is about to run, and why."""
        self.planned = self.plan.trials(now.after)
        self.epochs = self.plan.epochs(now.after)
        self._round = round_name(now)
        if now.answer is not None:
            self._console.print(round_line(now, self.plan))
        for name, task in self._tasks.items():
            moves = any(now.new(one) for one in now.after if one == name or name == JOINT)
            self._bars.update(task, total=self.planned[name], visible=moves)
        self.add([])

    def add(self, records: Iterable[TrialRecord]) -> None:
        """Show that these runs are finished."""
        for record in records:
            self._count(record)
        if self._tasks:
            shown = [name for name, task in self._tasks.items() if self._bars.tasks[task].visible]
            for name, task in self._tasks.items():
                best = f"best{self._metric} {self._best[name]:.3f}" if name in self._best else ""
                left = f"  {self._round}, {self._left()}" if name in shown[:1] else ""
                self._bars.update(task, completed=self._done[name], best=best + left)
        elif time.monotonic() - self._last >= LINE_SECONDS:
            self._last = time.monotonic()
            self._console.print(self._line())

    def _count(self, record: TrialRecord) -> None:
        self._trained += record.epochs - record.initial_epoch
        self._seconds += record.seconds
        if record.phase != Phase.SEARCH:
            return
        name = record.search
        self._done[name] += 1
        if record.status == TrialStatus.COMPLETED:
            self._best[name] = max(self._best.get(name, 0.0), record.best_value)
            self._metric = "" if record.metric == ACCURACY else f" {WORDS[record.metric]}"

    def _left(self) -> str:
        """Return the time left, and the workers elsewhere."""
        left, trained = "", self._trained - self._before
        remaining = max(self.epochs - self._trained, 0)
        if self._seconds_left or trained:
            until = "left" if len(self.plan.looks) < 2 else "until then"
            estimate = self._seconds_left or self._as_before
            left = f"{in_words(estimate(remaining, trained, self._seconds))} {until}"
        where = self._where()
        return f"{left}, {where}" if where else left

    def _as_before(self, remaining: float, trained: float, _: float) -> float:
        return (time.monotonic() - self._start) / trained * remaining

    def _line(self) -> str:
        done, planned = sum(self._done.values()), sum(self.planned.values())
        best = max(self._best, key=lambda name: self._best[name], default="")
        words = f", best{self._metric} so far {best} {self._best[best]:.3f}" if best else ""
        return f"search: {self._round}, {done}/{planned} search runs{words}, {self._left()}"


def round_name(now: Round) -> str:
    """Return the name of a round: the look that it leads to."""
    looks = [look.repeats for look in now.looks]
    aim = max(now.after[name] for name in now.after if now.new(name))
    number = next((place for place, look in enumerate(looks, 1) if look >= aim), len(looks))
    return f"look {number} of {len(looks)}" if len(looks) > 1 else counted(aim, "repeat")


def round_line(now: Round, plan: Plan) -> str:
    """Return the answer of the last look, and what runs until the next; "" before the first."""
    answer = now.answer
    if answer is None:
        return ""
    said, racing = _known(answer), answer.racing
    if not answer.asked:
        racing = tuple(name for name in racing if name != answer.leader)
    running = sum(bool(now.new(name)) for name in now.after)
    epochs = plan.epochs(now.after) - plan.epochs(now.before)
    return (
        f"look {answer.looked} of {len(now.looks)}: {said}; still in the race: {join(racing)}; "
        f"next: {epochs:,} epochs for {counted(running, 'optimizer')}"
    )


def _known(answer: Answer) -> str:
    """Return what is known of the optimizers that were asked about, else of the leader."""
    if not answer.asked:
        leads = f"{answer.leader} leads"
        if answer.bound is None:
            return f"{leads}, no bound yet"
        return f"{leads}, at most {at_most(answer.bound)} points behind the best"
    asked = [answer.about(name) for name in answer.asked]
    if len(asked) > NAMED:
        open_ = sum(one.verdict is Verdict.UNDECIDED for one in asked)
        return f"{len(asked) - open_} of {len(asked)} verdicts are known"
    return join([f"{one.sentence}{_behind(one)}" for one in asked])


def _behind(one: Judged) -> str:
    return "" if one.at_most_behind is None else f" (at most {at_most(one.bound)} points behind)"
