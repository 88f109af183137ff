"""Tasks come in, records go out: trained together, judged, scored, saved as they come.

A run that is already recorded is not trained again. The state of a trial that may be promoted is
kept in memory; where a kill lost it, the promoted run is trained from its first epoch, which gives
the same curve, because a run depends on nothing but its own task.

Results come in; of their states only those stay in memory that can still be asked for.

A state is several megabytes, and a study has thousands. So it stays only while its trial can still
be promoted. Weights do not stay at all: those of the few runs to take home are trained once more at
the end, with the same numbers.

Curves of a run come in; whether it diverged comes out, and why in words.
"""

import contextlib
import math
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from study.common.errors import UserError
from study.common.freed_memory import give_back
from study.common.metrics import ACCURACY
from study.records.outcomes import chance, score
from study.records.trial_record import (
    CURVES,
    Phase,
    TrialRecord,
    TrialStatus,
    as_table,
    best_epoch,
    cross_fitted,
    cross_fitted_by_class,
    curves_of,
    rounded,
)
from study.search.tasks import Data, Task
from study.training.epoch_metrics import class_counts, metric_of
from study.training.head import Statistics, head_probabilities
from study.training.places import Trainer
from study.training.population import OUT_OF_MEMORY
from study.training.program_key import Signature
from study.training.runs import HeadResult, HeadRun, HeadState

JUDGES = 4  # results that are looked at side by side
UNJUDGED = 16  # results; while there are more of them no new population begins

Judged = tuple[Task, HeadResult | None, Future[TrialRecord]]

Rung = tuple[str, int, int | None, int | None]

ABSURD_LOSS = 10.0  # times the loss of a coin with as many sides as classes
NO_GUESSING = 0.75  # accuracy


def status_of(
    curves: dict[str, list[float]], n_classes: int, *, plain: bool = True
) -> tuple[TrialStatus, str]:
    """Whether a run diverged, and why in words.

    It did if a loss is not finite, or if it ends with a training loss above `ABSURD_LOSS` times
    ln(n_classes) while guessing no better than twice chance. A large loss alone is not enough: an
    overconfident head can have one and still be right.

    Class weights make much of a few rows of the training, though not of the validation, and
    smoothing charges a head for being sure even where it is right. Guessing still has ln(n_classes)
    in both. So without a `plain` loss the validation loss has to be as large, too, and three rows
    of four named rightly are no guessing, which of two classes twice chance would call all.
    """
    for name in ("loss", "val_loss"):
        for epoch, value in enumerate(curves[name], start=1):
            if not math.isfinite(value):
                return TrialStatus.DIVERGED, f"{name} is {value} at epoch {epoch}"
    limit = ABSURD_LOSS * math.log(n_classes)
    loss, accuracy = curves["loss"][-1], curves["val_accuracy"][-1]
    guessing = 2.0 / n_classes
    if not plain:
        loss, guessing = min(loss, curves["val_loss"][-1]), min(guessing, NO_GUESSING)
    if loss > limit and accuracy <= guessing:
        return TrialStatus.DIVERGED, f"loss ends at {loss:.3g}, far above chance"
    return TrialStatus.COMPLETED, ""


class PausedTrials:
    """States of trials that can still be promoted: so far the best of each rung.

    Args:
        promoted: (bracket, rung) -> how many trials of that rung go on.
        score: of a record, by which the oracle promotes.
    """

    def __init__(
        self,
        promoted: Mapping[tuple[int | None, int | None], int],
        score: Callable[[TrialRecord], float],
    ) -> None:
        self._promoted, self._score = promoted, score
        self._states: dict[Rung, dict[str, tuple[TrialRecord, HeadState]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._states.values()))

    def may_pause(self, bracket: int | None, rung: int | None) -> bool:
        """Whether trials of this rung can be promoted at all."""
        return self._promoted.get((bracket, rung), 0) > 0

    def keep_only(self, wanted: Iterable[str | None]) -> None:
        """Forget the states of all other trials: their rungs have promoted."""
        names = set(wanted)
        self._states = {
            rung: {name: kept for name, kept in states.items() if name in names}
            for rung, states in self._states.items()
            if states.keys() & names
        }

    def state_of(self, record: TrialRecord) -> HeadState | None:
        """Where to continue; None if it is not kept."""
        found = self._states.get(rung_of(record), {}).get(record.trial_id)
        return found[1] if found else None

    def forget(self, record: TrialRecord) -> None:
        """Let go the state of a trial that has gone on."""
        self._states.get(rung_of(record), {}).pop(record.trial_id, None)

    def add(self, record: TrialRecord, state: HeadState) -> None:
        """Keep a state, unless enough of its rung are better; then the worst of them goes."""
        states = self._states.setdefault(rung_of(record), {})
        states[record.trial_id] = record, state
        if len(states) > self._promoted.get((record.bracket, record.rung), 0):
            # by id among equals, as the oracle has them
            del states[max(states, key=lambda name: (-self._score(states[name][0]), name))]


def rung_of(record: TrialRecord) -> Rung:
    """The search, and the bracket and rung in it, whose trials compete for promotion."""
    return record.search, record.repeat, record.bracket, record.rung


class Runner:
    """Trains tasks.

    Args:
        data: features, labels and splits.
        trainer: its metric judges the runs.
        promoted: (bracket, rung) -> how many trials of that rung go on.
        known: records of an earlier process.
        save: is given every batch of new records as soon as it exists.
        versions: which of the study's sets of versions is in force.
    """

    def __init__(
        self,
        data: Data,
        trainer: Trainer,
        promoted: Mapping[tuple[int | None, int | None], int],
        known: Iterable[TrialRecord],
        save: Callable[[list[TrialRecord]], None],
        *,
        versions: int = 0,
    ) -> None:
        self.data, self.trainer, self.save = data, trainer, save
        counts = np.bincount(data.labels, minlength=data.n_classes).tolist()
        self._guess = chance(trainer.metric, counts)
        self.versions = versions
        self.records = {record.trial_id: record for record in known}
        self.tasks: dict[str, Task] = {}
        self._paused = PausedTrials(promoted, self.score)

    def run(
        self, tasks: Sequence[Task], *, enough: Callable[[], bool] = lambda: False
    ) -> list[TrialRecord]:
        """Train what is not yet recorded; return the records of `tasks` in their order.

        Once `enough` says so, the populations under way are given up and the rest is left out.
        """
        self.tasks |= {task.run.trial_id: task for task in tasks}
        self._paused.keep_only(task.run.continues for task in tasks)
        missing = [task for task in tasks if task.run.trial_id not in self.records]
        with (
            ThreadPoolExecutor(JUDGES, "judge") as judges,
            contextlib.closing(self._train(missing)) as batches,  # ends them after Ctrl-C, too
        ):
            self._judge_all(batches, judges, enough)
        give_back()
        return [self.records[t.run.trial_id] for t in tasks if t.run.trial_id in self.records]

    def _judge_all(
        self,
        batches: Iterable[list[tuple[Task, HeadResult | None]]],
        judges: ThreadPoolExecutor,
        enough: Callable[[], bool],
    ) -> None:
        """Judge what ends in threads, save it as it comes, until `enough` says so.

        What asks a head about the test rows waits there for the heads that train.
        """
        waiting: deque[Judged] = deque()
        try:
            for finished in batches:
                waiting += [(*one, judges.submit(self._record, *one)) for one in finished]
                whole = []
                while waiting and (waiting[0][-1].done() or len(waiting) > UNJUDGED):
                    whole.append(waiting.popleft())
                self._collect(whole)
                if enough():
                    break
        finally:  # also of what ended before an error or Ctrl-C
            self._collect(waiting)

    def score(self, record: TrialRecord) -> float:
        """What the tuner is told: the best validation value; chance if it did not complete."""
        value = score(record, self._guess)
        return self._guess if math.isnan(value) else value

    def count(self, tasks: Iterable[Task]) -> Counter[Signature]:
        """How many of those that are not yet recorded each program would train."""
        missing = (task for task in tasks if task.run.trial_id not in self.records)
        return self.trainer.count(map(self._head_run, missing))

    def weights_of(self, tasks: Sequence[Task]) -> list[list[np.ndarray]]:
        """The weights at the best epoch of each run; they are trained once more, side by side.

        Raises:
            UserError: one does not fit into the memory that is left now.
        """
        weights = {}
        for finished in self._train(tasks):
            for task, result in finished:
                if result is None:
                    raise UserError(self._failed(task).message)
                weights[task.run.trial_id] = result.best_weights
        return [weights[task.run.trial_id] for task in tasks]

    def statistics(self, task: Task) -> Statistics | None:
        """Mean and variance of the run's training rows, if its head normalizes."""
        if not task.config.normalize:
            return None
        return Statistics.of(self.data.features[task.split.train])

    def _train(
        self, tasks: Sequence[Task]
    ) -> Generator[list[tuple[Task, HeadResult | None]], None, None]:
        """Results as they come; None for runs that do not fit into the memory.

        What a run needs is decided by its width and batch size. So after a failure the runs are
        tried again in groups of one width and batch size, and only a group that fails alone fails.
        """
        done: set[str] = set()
        try:
            for finished in self._trained(tasks):
                done |= {task.run.trial_id for task, _ in finished}
                yield finished
            return
        except OUT_OF_MEMORY:
            left = [task for task in tasks if task.run.trial_id not in done]
        groups: dict[tuple[object, ...], list[Task]] = {}
        for task in left:
            key = (task.config.keras_class, task.config.dense_width, task.config.batch_size)
            groups.setdefault(key, []).append(task)
        if len(groups) == 1:
            yield [(task, None) for task in left]
            return
        for group in groups.values():
            yield from self._train(group)

    def _trained(self, tasks: Sequence[Task]) -> Iterator[list[tuple[Task, HeadResult | None]]]:
        for finished in self.trainer.train([self._head_run(task) for task in tasks]):
            yield [(tasks[index], result) for index, result in finished]

    def _head_run(self, task: Task) -> HeadRun:
        """A rung continues from its state; where a kill lost that, it is trained from epoch 1."""
        before = self.records.get(task.run.continues or "")
        return HeadRun(
            task.config,
            task.split.train,
            task.split.validation,
            task.run.seed,
            task.run.epochs,
            state=self._paused.state_of(before) if before else None,
            pauses=self._paused.may_pause(task.run.bracket, task.run.rung),
            keep_weights=task.run.phase != Phase.SEARCH,
        )

    def _collect(self, judged: Iterable[Judged]) -> None:
        """Save what was judged, also beside and after an error; then raise the first."""
        records: list[TrialRecord] = []
        errors: list[BaseException] = []
        try:
            for task, result, future in judged:
                error = future.exception()
                if error:
                    errors.append(error)
                else:
                    records.append(future.result())
                    self._keep(task, result, records[-1])
        finally:  # also of what was judged before Ctrl-C
            if records:
                self.save(records)
        if errors:
            raise errors[0]

    def _keep(self, task: Task, result: HeadResult | None, record: TrialRecord) -> None:
        """What later runs need of one that ended."""
        if result and task.run.continues in self.records:
            self._paused.forget(self.records[task.run.continues])
        self.records[task.run.trial_id] = record
        if result and result.state:
            self._paused.add(record, result.state)

    def _failed(self, task: Task) -> TrialRecord:
        return self._begun(
            task,
            status=TrialStatus.FAILED,
            message=f"out of memory with dense_width {task.config.dense_width}, batch_size "
            f"{task.config.batch_size} and {self.trainer.size} heads at once: take smaller "
            "ones in the search space, or a smaller --population",
        )

    def _record(self, task: Task, result: HeadResult | None) -> TrialRecord:
        if result is None:
            return self._failed(task)
        measured = {**result.metrics._asdict(), "learning_rate": result.learning_rate}
        curves: dict[str, Any] = {
            key: [rounded(float(value)) for value in measured[key]]
            for key in curves_of(self.trainer.metric)
        }
        if task.run.continues and len(curves["loss"]) < task.run.epochs:
            before = self.records[task.run.continues]
            curves = {name: [*getattr(before, name), *curve] for name, curve in curves.items()}
        status, message = status_of(curves, self.data.n_classes, plain=not task.config.has_own_loss)
        record = replace(
            self._begun(task, status=status, message=message),
            seconds=rounded(result.seconds),
            **curves,
        )
        record = replace(record, best_epoch=best_epoch(record.measured.validation))
        if task.run.phase == Phase.SEARCH:
            return record
        record = _cross_fitted(record, result, len(task.split.validation))
        if not len(task.split.test):
            return record
        return self._tested(record, task, result.best_weights)

    def _begun(self, task: Task, *, status: TrialStatus, message: str) -> TrialRecord:
        """What is known of a run before its curves."""
        curves: dict[str, Any] = {key: [] for key in CURVES}
        return TrialRecord(
            **as_table(task.run),
            **curves,
            status=status,
            message=message,
            metric=self.trainer.metric,
            best_epoch=0,
            seconds=0.0,
            versions=self.versions,
        )

    def _tested(self, record: TrialRecord, task: Task, weights: list[np.ndarray]) -> TrialRecord:
        """Add what the test rows say, with the weights of the best epoch."""
        rows = task.split.test
        probabilities = head_probabilities(
            task.config, weights, self.data.features[rows], self.statistics(task)
        )  # (n_test, n_classes)
        labels = self.data.labels[rows]
        right = probabilities[np.arange(len(rows)), labels]
        if record.metric != ACCURACY:
            counts = class_counts(labels, probabilities, None, self.data.n_classes)
            record = replace(record, test_metric=rounded(float(metric_of(record.metric, counts))))
        return replace(
            record,
            test_accuracy=rounded(float((probabilities.argmax(axis=1) == labels).mean())),
            test_loss=rounded(float(-np.log(np.maximum(right, 1e-7)).mean())),  # as Keras clips
        )


def _cross_fitted(record: TrialRecord, result: HeadResult, rows: int) -> TrialRecord:
    """Add what each half of the validation rows says."""
    halves = (result.metrics.val_hits_a, result.metrics.val_hits_b)
    hits_a, hits_b = ([round(float(hits)) for hits in half] for half in halves)
    fitted = cross_fitted(hits_a, hits_b, rows)
    if record.metric != ACCURACY:
        counts = np.asarray(result.metrics.val_counts, np.float64)
        record = replace(record, cross_fitted_metric=cross_fitted_by_class(record.metric, counts))
    return replace(record, val_hits_a=hits_a, val_hits_b=hits_b, cross_fitted_accuracy=fitted)
