"""Which population begins next at a place."""

from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import replace

import numpy as np

from study.space.search_space import load_space
from study.training.places import Place, Results, Trainer
from study.training.program_key import Signature
from study.training.runs import HeadResult, HeadRun, TrainingRules

ROWS = np.arange(30, dtype=np.int32)
ADAM = load_space("default").default("adam")


class Noted(Trainer):
    """Its own place, which notes what it is given and ends it at once."""

    side_by_side = busy = 1

    def __init__(self, compiled: Collection[int]) -> None:
        super().__init__(TrainingRules(9, (64, 128)), size=2)
        self.given: list[tuple[int, list[int]]] = []
        self._compiled = compiled

    def places(self) -> list[Place]:
        return [self]

    @property
    def compiled(self) -> Collection[Signature]:
        return [self.signature(run(width, 1)) for width in self._compiled]

    def submit(self, runs: list[HeadRun]) -> Future[Results]:
        self.given.append((runs[0].config.dense_width, [run.epochs for run in runs]))
        ended: Future[Results] = Future()
        ended.set_result([HeadResult(None, ROWS[:0], None, [], 0.0) for _ in runs])
        return ended

    def stop(self, *, patient: bool) -> None:
        """Nothing is under way."""


def run(width: int, epochs: int) -> HeadRun:
    return HeadRun(replace(ADAM, dense_width=width), ROWS[:20], ROWS[20:], 1, epochs)


def order(runs: list[HeadRun], *compiled: int) -> list[tuple[int, list[int]]]:
    """(width, epochs of each run) of the populations as they are begun."""
    trainer = Noted(compiled)
    results = [index for part in trainer.train(runs) for index, _ in part]
    assert sorted(results) == list(range(len(runs)))
    return trainer.given


def test_what_takes_longest_begins_first_so_that_no_core_waits_for_it_at_the_end():
    runs = [run(64, 2), run(64, 2), run(128, 3), run(64, 9)]
    assert order(runs, 64, 128) == [(64, [9, 2]), (128, [3]), (64, [2])]


def test_the_program_with_the_most_waiting_work_is_compiled_first():
    runs = [run(128, 3), *[run(64, 2)] * 8]
    assert order(runs)[0] == (64, [2, 2])
    assert order(runs[:1] + runs[-1:])[0] == (128, [3])
