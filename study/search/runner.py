"""Tasks come in, records go out: runs are trained together and recorded as they end.

A recorded run is not trained again. A trial that may still be promoted keeps its state in memory,
several megabytes; where a kill lost that, the promoted run is trained from its first epoch, with
the same curve, because a run depends only on its own task. Weights are not kept: the few runs whose
weights are exported are trained once more at the end, with the same numbers.
"""

import contextlib
import math
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float32

from study.common.errors import UserError
from study.common.freed_memory import give_back
from study.common.metrics import ACCURACY
from study.records.outcomes import ABSURD_LOSS, chance, score
from study.records.predicted_classes import PredictedRun
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

SCORERS = 4  # threads that make records of results
MOST_UNSAVED = 16  # results; while there are more of them no new population starts
NO_GUESSING = 0.75  # accuracy that is never guessing

Ended = tuple[Task, HeadResult | None]  # None: the run does not fit into memory
Unsaved = tuple[Task, HeadResult | None, Future[TrialRecord]]
Promoted = Mapping[tuple[int | None, int | None], int]  # trials promoted of each (bracket, rung)
Rung = tuple[str, int, int | None, int | None]  # search, repeat, bracket, rung


class Runner:
    """Trains tasks, which the metric of the `trainer` scores.

    Args:
        promoted: see `promotions`.
        known: records of an earlier process.
        save: called with each batch of new records as soon as it exists.
        keep: called before that with what the confirmation runs of the batch predict.
        versions: index of the versions in force in `StudyMeta.versions`.
    """

    def __init__(
        self,
        data: Data,
        trainer: Trainer,
        promoted: Promoted,
        known: Iterable[TrialRecord],
        save: Callable[[list[TrialRecord]], None],
        *,
        keep: Callable[[list[PredictedRun]], None] = lambda runs: None,
        versions: int = 0,
    ) -> None:
        self.data, self.trainer, self.save, self.keep = data, trainer, save, keep
        counts = np.bincount(data.labels, minlength=data.n_classes).tolist()
        self._guess = chance(trainer.metric, counts)
        self.versions = versions
        self.records = {record.trial_id: record for record in known}
        self.tasks: dict[str, Task] = {}
        self._paused = PausedTrials(promoted, self.score)

    def run(
        self, tasks: Sequence[Task], *, enough: Callable[[], bool] = lambda: False
    ) -> list[TrialRecord]:
        """Train the tasks without a record; return the records of `tasks` in their order.

        Once `enough()` is true, populations in training are stopped, and the rest is left out.
        """
        self.tasks |= {task.run.trial_id: task for task in tasks}
        self._paused.keep_only(task.run.continues for task in tasks)
        missing = [task for task in tasks if task.run.trial_id not in self.records]
        with (
            ThreadPoolExecutor(SCORERS, "scorer") as scorers,
            contextlib.closing(self._train(missing)) as batches,  # also stops them after Ctrl-C
        ):
            self._record_all(batches, scorers, enough)
        give_back()
        return [self.records[t.run.trial_id] for t in tasks if t.run.trial_id in self.records]

    def score(self, record: TrialRecord) -> float:
        """Return the score for the tuner: the best validation value; chance if not completed."""
        value = score(record, self._guess)
        return self._guess if math.isnan(value) else value

    def count(self, tasks: Iterable[Task]) -> Counter[Signature]:
        """Count the tasks without a record that each program would train."""
        missing = (task for task in tasks if task.run.trial_id not in self.records)
        return self.trainer.count(map(self._head_run, missing))

    def weights_of(self, tasks: Sequence[Task], epochs: Sequence[int]) -> list[list[np.ndarray]]:
        """Train all runs once more, together, each for so many epochs; return its last weights.

        Raises:
            UserError: a run does not fit into the memory that is free now.
        """
        again = [
            task._replace(run=replace(task.run, epochs=n))
            for task, n in zip(tasks, epochs, strict=True)
        ]
        weights = {}
        for finished in self._train(again, last_weights=True):
            for task, result in finished:
                if result is None:
                    raise UserError(self._failed(task).message)
                weights[task.run.trial_id] = result.weights
        return [weights[task.run.trial_id] for task in tasks]

    def statistics(self, task: Task) -> Statistics | None:
        """Return mean and variance of the run's training rows; None unless its head normalizes."""
        if not task.config.normalize:
            return None
        return Statistics.of(self.data.features[task.split.train])

    def _train(
        self, tasks: Sequence[Task], *, last_weights: bool = False
    ) -> Generator[list[Ended], None, None]:
        """Yield results as they come.

        Width and batch size decide what a run needs. So after a failure the runs are tried again in
        groups of one width and batch size, and only a group that fails by itself fails.
        """
        done: set[str] = set()
        try:
            for finished in self._trained(tasks, last_weights):
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
            yield from self._train(group, last_weights=last_weights)

    def _trained(self, tasks: Sequence[Task], last_weights: bool) -> Iterator[list[Ended]]:
        runs = [self._head_run(task)._replace(last_weights=last_weights) for task in tasks]
        for finished in self.trainer.train(runs):
            yield [(tasks[index], result) for index, result in finished]

    def _head_run(self, task: Task) -> HeadRun:
        """Return the run for the trainer; a rung continues from its state, or starts at epoch 1."""
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
            keep_classes=task.run.phase == Phase.CONFIRM,
        )

    def _record_all(
        self,
        batches: Iterable[list[Ended]],
        scorers: ThreadPoolExecutor,
        enough: Callable[[], bool],
    ) -> None:
        """Make records of results in threads and save them as they come, until `enough()` is true.

        Threads that predict test rows wait for the heads in training, not the other way round.
        """
        waiting: deque[Unsaved] = deque()
        try:
            for finished in batches:
                waiting += [(*one, scorers.submit(self._record, *one)) for one in finished]
                ended = []
                while waiting and (waiting[0][-1].done() or len(waiting) > MOST_UNSAVED):
                    ended.append(waiting.popleft())
                self._collect(ended)
                if enough():
                    break
        finally:  # also runs that ended before an error or Ctrl-C
            self._collect(waiting)

    def _collect(self, ended: Iterable[Unsaved]) -> None:
        """Save the records of ended runs, also those beside and after an error; then raise it."""
        records: list[TrialRecord] = []
        predicted: list[PredictedRun] = []
        errors: list[BaseException] = []
        try:
            for task, result, future in ended:
                error = future.exception()
                if error:
                    errors.append(error)
                    continue
                records.append(future.result())
                self.records[task.run.trial_id] = records[-1]
                if result and result.classes is not None:
                    rows, its = task.split.validation, task.run
                    predicted.append(PredictedRun(its.trial_id, its.split, rows, result.classes))
                if result and task.run.continues in self.records:
                    self._paused.forget(self.records[task.run.continues])
                if result and result.state:
                    self._paused.add(records[-1], result.state)
        finally:  # also runs that ended before Ctrl-C
            if records:
                self.keep(predicted)
                self.save(records)
        if errors:
            raise errors[0]

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
        own = task.config.has_own_loss or self.data.splits.examples.sample_weight is not None
        status, message = status_of(curves, self.data.n_classes, plain=not own)
        record = replace(
            self._empty(task, status, message), seconds=rounded(result.seconds), **curves
        )
        record = replace(record, best_epoch=best_epoch(record.measured.validation))
        if task.run.phase == Phase.SEARCH:
            return record
        record = _cross_fitted(record, result, len(task.split.validation))
        return self._tested(record, task, result.weights) if len(task.split.test) else record

    def _failed(self, task: Task) -> TrialRecord:
        config = task.config
        message = (
            f"out of memory with dense_width {config.dense_width}, batch_size "
            f"{config.batch_size} and {self.trainer.size} heads at a time: reduce these in the "
            "search space, or --population"
        )
        return self._empty(task, TrialStatus.FAILED, message)

    def _empty(self, task: Task, status: TrialStatus, message: str) -> TrialRecord:
        """Return a record without curves."""
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

    def _tested(
        self, record: TrialRecord, task: Task, weights: list[Float32[np.ndarray, "..."]]
    ) -> TrialRecord:
        """Add the results on the test rows, with the weights of the best epoch."""
        rows = task.split.test
        probabilities = head_probabilities(
            task.config, weights, self.data.features[rows], self.statistics(task)
        )
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
    """Add the results of each fold of the validation rows."""
    folds = (result.metrics.val_hits_a, result.metrics.val_hits_b)
    hits_a, hits_b = ([round(float(hits)) for hits in fold] for fold in folds)
    fitted = cross_fitted(hits_a, hits_b, rows)
    if record.metric != ACCURACY:
        counts = np.asarray(result.metrics.val_counts, np.float64)
        record = replace(record, cross_fitted_metric=cross_fitted_by_class(record.metric, counts))
    return replace(record, val_hits_a=hits_a, val_hits_b=hits_b, cross_fitted_accuracy=fitted)


def status_of(
    curves: dict[str, list[float]], n_classes: int, *, plain: bool = True
) -> tuple[TrialStatus, str]:
    """Return whether a run completed or diverged, and why in words.

    A run diverged if a loss is not finite, or if it ends with a training loss above `ABSURD_LOSS`
    times ln(n_classes) while its accuracy is at most twice chance. A large loss alone is not
    enough: an overconfident head can have one and still be right.

    Weights multiply the training loss of a few rows, and smoothed labels charge a head for
    confidence even where it is right, but guessing still costs ln(n_classes). So without a `plain`
    loss the validation loss must be as large, too, and an accuracy of `NO_GUESSING` is never
    guessing: of two classes, any accuracy would be at most twice chance.
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
    """States of the trials that can still be promoted: the best of each rung, by `score`."""

    def __init__(self, promoted: Promoted, score: Callable[[TrialRecord], float]) -> None:
        self._promoted, self._score = promoted, score
        self._states: dict[Rung, dict[str, tuple[TrialRecord, HeadState]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._states.values()))

    def may_pause(self, bracket: int | None, rung: int | None) -> bool:
        """Return whether trials of this rung can be promoted at all."""
        return self._promoted.get((bracket, rung), 0) > 0

    def keep_only(self, continued: Iterable[str | None]) -> None:
        """Drop the states of all trials that are not `continued`: their rungs have promoted."""
        names = set(continued)
        self._states = {
            rung: kept
            for rung, states in self._states.items()
            if (kept := {name: one for name, one in states.items() if name in names})
        }

    def state_of(self, record: TrialRecord) -> HeadState | None:
        """Return the state to continue from; None if it is not kept."""
        found = self._states.get(rung_of(record), {}).get(record.trial_id)
        return found[1] if found else None

    def forget(self, record: TrialRecord) -> None:
        """Drop the state of a trial that was continued."""
        self._states.get(rung_of(record), {}).pop(record.trial_id, None)

    def add(self, record: TrialRecord, state: HeadState) -> None:
        """Keep a state; drop the worst of its rung if more are kept than can be promoted."""
        states = self._states.setdefault(rung_of(record), {})
        states[record.trial_id] = record, state
        if len(states) > self._promoted.get((record.bracket, record.rung), 0):
            # equals in ascending order of ids, like the oracle
            del states[max(states, key=lambda name: (-self._score(states[name][0]), name))]


def rung_of(record: TrialRecord) -> Rung:
    """Return the rung within which a trial competes for promotion."""
    return record.search, record.repeat, record.bracket, record.rung
