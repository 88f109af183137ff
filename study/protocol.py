"""The protocol of a study: features and a search space in, records out.

Three phases (DEFAULT, SEARCH, CONFIRM) make up every repeat. All optimizers of a repeat see the
same splits and seeds (paired), the search and the confirmation use different ones, and the test
rows are looked at only by runs that nothing is selected from. The trials of all searches are
collected in waves and trained side by side. Every seed, split and proposal is a function of the
study's seed and of earlier results, so a run that stands in the records is never trained again and
a killed study continues where it was.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from study.head import Statistics, head_probabilities
from study.images import ImageSet
from study.options import Options
from study.population import HeadResult, HeadRun, HeadState, Population
from study.records import Phase, TrialRecord, TrialStatus, rounded
from study.space import HeadConfig, SearchSpace
from study.splits import Split, keras_split, set_aside_test, stratified_split
from study.tuner import Budget, Proposal, Search, derive_seed, hyperband_rungs

OUT_OF_MEMORY = (MemoryError, tf.errors.ResourceExhaustedError)
ABSURD_LOSS = 10.0  # times the loss of a coin with as many sides as classes


class Task(NamedTuple):
    """A run that the protocol wants, before it was trained."""

    trial_id: str
    phase: Phase
    repeat: int
    config: HeadConfig
    epochs: int
    seed: int
    split: Split
    confirm: int | None = None
    continues: str | None = None  # trial_id
    initial_epoch: int = 0
    bracket: int | None = None
    round: int | None = None


class Splits:
    """The rows of every repeat: one test set, and fresh training and validation rows.

    With `--split keras` there is Keras's one assignment for everything.

    Raises:
        UserError: a class has too few images.
    """

    def __init__(self, images: ImageSet, options: Options) -> None:
        self.images, self.options = images, options
        self._made: dict[tuple[str, int], Split] = {}
        self.keras: Split | None = None
        if options.split == "keras":
            self.keras = keras_split(images, options.validation_split, seed=options.split_seed)
        seed = derive_seed(options.seed, "test")
        self.test = set_aside_test(images, options.test_split, seed=seed)  # (n_test,)

    def __call__(self, purpose: str, repeat: int) -> Split:
        """The split of `purpose`, "search" or "confirm", in a repeat."""
        if self.keras is not None:
            return self.keras
        if (purpose, repeat) not in self._made:
            self._made[purpose, repeat] = stratified_split(
                self.images,
                self.test,
                self.options.validation_split,
                seed=derive_seed(self.options.seed, "split", purpose, repeat),
            )
        return self._made[purpose, repeat]


class Data(NamedTuple):
    """What the heads are trained on."""

    features: np.ndarray  # (N, 512) float32
    labels: np.ndarray  # (N,) int32
    n_classes: int
    splits: Splits


class Protocol:
    """Runs the phases; `save` is given every batch of new records as soon as it exists."""

    def __init__(
        self,
        options: Options,
        space: SearchSpace,
        data: Data,
        population: Population,
        known: Iterable[TrialRecord],
        save: Callable[[list[TrialRecord]], None],
    ) -> None:
        self.options, self.space, self.data = options, space, data
        self.population, self.save = population, save
        self.records = {record.trial_id: record for record in known}
        self.best_weights: dict[str, list[np.ndarray]] = {}  # of this process's confirmation runs
        self.stopped = ""  # why the search ended early
        self._states: dict[str, HeadState] = {}  # of trials that may be promoted
        self._tasks: dict[str, Task] = {}
        self._started = time.monotonic()
        budget = Budget(options.tuner, options.max_epochs, options.factor, options.trials)
        self._promoted: dict[tuple[int | None, int | None], int] = (
            {
                (b, r - 1): size
                for b, r, size, _ in hyperband_rungs(budget.max_epochs, budget.factor)
            }
            if options.tuner == "hyperband"
            else {}
        )
        joint = options.allocation == "joint" and len(space.optimizers) > 1
        names: list[str | None] = [None] if joint else list(space.optimizers)
        self.searches = {
            (name or "joint", repeat): Search(
                space, name, budget, seed=derive_seed(options.seed, "proposals", repeat)
            )
            for repeat in range(options.repeats)
            for name in names
        }

    def default_runs(self) -> list[TrialRecord]:
        """One run of every optimizer at its untuned settings, on the confirmation's split.

        Left out where the space has one point only: there, untuned and tuned are the same.
        """
        tasks = [
            self._rerun(Phase.DEFAULT, repeat, 0, self.space.default(name), None)
            for repeat in range(self.options.repeats)
            for name in self.space.optimizers
            if self.space.points(name) > 1
        ]
        return self.run(tasks)

    def search(self) -> None:
        """Ask all searches, train what they propose, tell them, until none proposes any more."""
        while not self.stopped:
            wave = [
                (search, proposal, self._task(key, repeat, proposal))
                for (key, repeat), search in self.searches.items()
                for proposal in search.ask()
            ]
            if not wave:
                return
            tasks = [task for _, _, task in wave]
            wanted = {task.continues for task in tasks}
            self._states = {key: s for key, s in self._states.items() if key in wanted}
            done = {record.trial_id: record for record in self.run(tasks)}
            for search, proposal, task in wave:
                if task.trial_id in done:  # all of them, unless the time is over
                    search.tell(proposal.number, self._score(done[task.trial_id]))
        self._states = {}

    def confirm(self) -> list[TrialRecord]:
        """Rerun the winner of every search and optimizer with fresh seeds on a fresh split."""
        tasks = []
        for repeat in range(self.options.repeats):
            for name in self.space.optimizers:
                winner = self.winner(name, repeat)
                if winner is None:
                    continue
                config = self._tasks[winner.trial_id].config
                tasks += [
                    self._rerun(Phase.CONFIRM, repeat, number, config, winner)
                    for number in range(self.options.confirm)
                ]
        return self.run(tasks, limited=False)

    def winner(self, optimizer: str, repeat: int) -> TrialRecord | None:
        """The best search trial; of equals the one with the lower validation loss."""
        trials = [
            record
            for record in self.records.values()
            if record.phase == Phase.SEARCH
            and (record.optimizer, record.repeat) == (optimizer, repeat)
            and record.status == TrialStatus.COMPLETED
        ]
        return max(
            trials, key=lambda r: (r.best_val_accuracy, -r.val_loss[r.best_epoch - 1]), default=None
        )

    def run(self, tasks: Sequence[Task], *, limited: bool = True) -> list[TrialRecord]:
        """Train what is not yet recorded; return the records of `tasks` in their order.

        With `limited`, runs that have not begun when `--time-limit` is over are left out.
        """
        for task in tasks:
            self._tasks[task.trial_id] = task
        missing = [task for task in tasks if task.trial_id not in self.records]
        for finished in self._train(missing):
            self._collect(finished)
            if limited and self._time_is_over():
                self.stopped = f"the time limit of {self.options.time_limit:g} minutes was reached"
                break
        return [self.records[t.trial_id] for t in tasks if t.trial_id in self.records]

    def chosen(self, name: str) -> tuple[Task, TrialRecord] | None:
        """The confirmation run of an optimizer with the best validation accuracy, and its task."""
        runs = [
            record
            for record in self.records.values()
            if record.phase == Phase.CONFIRM
            and record.optimizer == name
            and record.status == TrialStatus.COMPLETED
        ]
        best = max(runs, key=lambda record: record.best_val_accuracy, default=None)
        return None if best is None else (self._tasks[best.trial_id], best)

    def weights_of(self, task: Task) -> list[np.ndarray]:
        """The weights at the best epoch of a run; trained once more if this process did not."""
        if task.trial_id not in self.best_weights:
            ((_, result),) = next(self.population.train([self._head_run(task)]))
            self.best_weights[task.trial_id] = result.best_weights
        return self.best_weights[task.trial_id]

    def statistics(self, task: Task) -> Statistics | None:
        """Mean and variance of the run's training rows, if its head normalizes."""
        if not task.config.normalize:
            return None
        return Statistics.of(self.data.features[task.split.train])

    def superseded(self) -> set[str]:
        """Confirmation runs of winners that a longer search has since replaced."""
        return {
            record.trial_id
            for record in self.records.values()
            if record.phase == Phase.CONFIRM and record.trial_id not in self._tasks
        }

    def _task(self, key: str, repeat: int, proposal: Proposal) -> Task:
        place = f"{key}/{repeat}/search/"
        return Task(
            trial_id=place + proposal.number,
            phase=Phase.SEARCH,
            repeat=repeat,
            config=proposal.config,
            epochs=proposal.epochs,
            # the same for every optimizer: the same initial weights and order of rows
            seed=derive_seed(self.options.seed, "search", repeat, proposal.root),
            split=self.data.splits("search", repeat),
            continues=place + proposal.continues if proposal.continues else None,
            initial_epoch=proposal.initial_epoch,
            bracket=proposal.bracket,
            round=proposal.round,
        )

    def _rerun(
        self, phase: Phase, repeat: int, number: int, config: HeadConfig, winner: TrialRecord | None
    ) -> Task:
        """A run on the repeat's confirmation split; untuned ones are paired with run 0."""
        name = f"{config.optimizer}/{repeat}/{phase}"
        if winner is not None:
            name += f"/{winner.trial_id.rpartition('/')[2]}-{number}"
        return Task(
            trial_id=name,
            phase=phase,
            repeat=repeat,
            config=config,
            epochs=winner.epochs if winner else self.options.max_epochs,
            seed=derive_seed(self.options.seed, "confirm", repeat, number),
            split=self.data.splits("confirm", repeat),
            confirm=number if winner else None,
            continues=None,
        )

    def _train(self, tasks: Sequence[Task]) -> Iterator[list[tuple[Task, HeadResult | None]]]:
        """Results as they come; None for runs that do not fit into the memory.

        What a run needs is decided by its width and batch size. So after a failure the runs are
        tried again in groups of one width and batch size, and only a group that fails alone fails.
        """
        done: set[str] = set()
        try:
            for finished in self._trained(tasks):
                done |= {task.trial_id for task, _ in finished}
                yield finished
            return
        except OUT_OF_MEMORY:
            left = [task for task in tasks if task.trial_id not in done]
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
        runs = [self._head_run(task) for task in tasks]
        for finished in self.population.train(runs):
            yield [(tasks[index], result) for index, result in finished]

    def _head_run(self, task: Task) -> HeadRun:
        """A rung continues from its state; where a kill lost that, it is trained from epoch 1."""
        state = self._states.get(task.continues) if task.continues else None
        rows = task.split
        return HeadRun(task.config, rows.train, rows.validation, task.seed, task.epochs, state)

    def _collect(self, finished: list[tuple[Task, HeadResult | None]]) -> None:
        records = []
        for task, result in finished:
            if result is None:
                self.records[task.trial_id] = self._failed(task)
                records.append(self.records[task.trial_id])
                continue
            record = self._record(task, result)
            self.records[task.trial_id] = record
            records.append(record)
            if (task.bracket, task.round) in self._promoted:
                self._states[task.trial_id] = result.state
            if task.phase == Phase.CONFIRM:
                self.best_weights[task.trial_id] = result.best_weights
        self._prune_states(finished)
        self.save(records)

    def _failed(self, task: Task) -> TrialRecord:
        return self._begun(
            task,
            status=TrialStatus.FAILED,
            message=f"out of memory with dense_width {task.config.dense_width}, batch_size "
            f"{task.config.batch_size} and {self.population.size} heads at once: take smaller "
            "ones in the search space, or a smaller --population",
        )

    def _prune_states(self, finished: list[tuple[Task, HeadResult | None]]) -> None:
        """Keep only the states that can still be promoted: the best of each rung."""
        rungs = {(t.trial_id.rpartition("/")[0], t.bracket, t.round) for t, _ in finished}
        for search, bracket, rung in rungs:
            waiting = [
                self.records[trial_id]
                for trial_id in self._states
                if trial_id.rpartition("/")[0] == search
                and (self.records[trial_id].bracket, self.records[trial_id].round)
                == (bracket, rung)
            ]
            waiting.sort(key=self._score, reverse=True)  # stable, as the oracle's own sort is
            for record in waiting[self._promoted.get((bracket, rung), 0) :]:
                del self._states[record.trial_id]

    def _record(self, task: Task, result: HeadResult) -> TrialRecord:
        curves = {
            name: [rounded(float(value)) for value in getattr(result, name)]
            for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
        }
        if task.continues and len(curves["loss"]) < task.epochs:
            before = self.records[task.continues]
            curves = {name: [*getattr(before, name), *curve] for name, curve in curves.items()}
        status, message = judge(curves, self.data.n_classes)
        accuracy = np.nan_to_num(np.asarray(curves["val_accuracy"]), nan=-1.0)
        record = replace(
            self._begun(task, status=status, message=message),
            best_epoch=int(np.argmax(accuracy)) + 1,
            seconds=rounded(result.seconds),
            loss=curves["loss"],
            accuracy=curves["accuracy"],
            val_loss=curves["val_loss"],
            val_accuracy=curves["val_accuracy"],
            learning_rate=curves["learning_rate"],
        )
        if task.phase == Phase.SEARCH or not len(task.split.test):
            return record
        return self._tested(record, task, result.best_weights)

    def _begun(self, task: Task, *, status: TrialStatus, message: str) -> TrialRecord:
        """What is known of a run before its curves."""
        return TrialRecord(
            trial_id=task.trial_id,
            optimizer=task.config.optimizer,
            repeat=task.repeat,
            phase=task.phase,
            seed=task.seed,
            split=task.split.digest,
            hyperparameters=task.config.hyperparameters(),
            epochs=task.epochs,
            status=status,
            message=message,
            loss=[],
            accuracy=[],
            val_loss=[],
            val_accuracy=[],
            learning_rate=[],
            best_epoch=0,
            seconds=0.0,
            bracket=task.bracket,
            round=task.round,
            continues=task.continues,
            initial_epoch=task.initial_epoch,
            confirm=task.confirm,
        )

    def _tested(self, record: TrialRecord, task: Task, weights: list[np.ndarray]) -> TrialRecord:
        """Add accuracy and loss on the test rows, with the weights of the best epoch."""
        rows = task.split.test
        probabilities = head_probabilities(
            task.config, weights, self.data.features[rows], self.statistics(task)
        )  # (n_test, n_classes)
        labels = self.data.labels[rows]
        right = probabilities[np.arange(len(rows)), labels]
        return replace(
            record,
            test_accuracy=rounded(float((probabilities.argmax(axis=1) == labels).mean())),
            test_loss=rounded(float(-np.log(np.maximum(right, 1e-7)).mean())),  # as Keras clips
        )

    def _score(self, record: TrialRecord) -> float:
        if record.status == TrialStatus.COMPLETED:
            return record.best_val_accuracy
        return rounded(1.0 / self.data.n_classes)

    def _time_is_over(self) -> bool:
        limit = self.options.time_limit
        return limit is not None and time.monotonic() - self._started > 60 * limit


def judge(curves: dict[str, list[float]], n_classes: int) -> tuple[TrialStatus, str]:
    """Whether a run diverged, and why in words.

    It did if a loss is not finite, or if it ends with a training loss above `ABSURD_LOSS` times
    ln(n_classes) while guessing no better than twice chance. A large loss alone is not enough: an
    overconfident head can have one and still be right.
    """
    for name in ("loss", "val_loss"):
        for epoch, value in enumerate(curves[name], start=1):
            if not math.isfinite(value):
                return TrialStatus.DIVERGED, f"{name} is {value} at epoch {epoch}"
    limit = ABSURD_LOSS * math.log(n_classes)
    loss, accuracy = curves["loss"][-1], curves["val_accuracy"][-1]
    if loss > limit and accuracy <= 2.0 / n_classes:
        return TrialStatus.DIVERGED, f"loss ends at {loss:.3g}, far above chance"
    return TrialStatus.COMPLETED, ""
