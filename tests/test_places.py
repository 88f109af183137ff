"""Runs dealt out to places that are slow, that are lost, that are stopped: each result comes once.

The places here train nothing: the "loss" of a run is its seed.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from study.space.head_config import HeadConfig
from study.space.search_space import load_space
from study.training.epoch_metrics import EpochMetrics
from study.training.places import Place, PlaceLostError, Results, Trainer
from study.training.program_key import Signature, signature_of
from study.training.runs import HeadResult, HeadRun, HeadState, TrainingRules

ROWS = np.arange(8, dtype=np.int32)
CONFIG = load_space("quick").default("sgd")
OTHERS = [CONFIG, replace(CONFIG, batch_norm=not CONFIG.batch_norm)]


def runs_of(count: int, config: HeadConfig = CONFIG, first: int = 0) -> list[HeadRun]:
    return [HeadRun(config, ROWS, ROWS[:4], seed, epochs=2) for seed in range(first, first + count)]


def result_of(run: HeadRun) -> HeadResult:
    curve = np.full(run.remaining, run.seed, np.float32)
    metrics = EpochMetrics(**dict.fromkeys(EpochMetrics._fields, curve))
    return HeadResult(metrics, curve, None, [], seconds=0.0)


class FakePlace:
    """Ends a population after `seconds`, unless it is stopped or the place is `lost` to it."""

    def __init__(
        self, *, seconds: float = 0.0, lost: Callable[[list[HeadRun]], bool] = lambda runs: False
    ) -> None:
        self.side_by_side, self.busy, self.alive = 2, 4, True
        self.compiled = set[Signature]()
        self.seen: list[list[int]] = []  # seeds, in the order in which they came
        self.together: list[int] = []  # populations that were there when one came
        self._seconds, self._lost, self._there = seconds, lost, 0
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._pool = ThreadPoolExecutor(self.side_by_side)

    def submit(self, runs: list[HeadRun]) -> Future[Results]:
        with self._lock:
            self._there += 1
            self.together.append(self._there)
            self.seen.append([run.seed for run in runs])
        return self._pool.submit(self._train, runs)

    def stop(self, *, patient: bool) -> None:
        self._stop.set()
        self._pool.shutdown(patient, cancel_futures=True)
        self._stop, self._pool = threading.Event(), ThreadPoolExecutor(self.side_by_side)

    def _train(self, runs: list[HeadRun]) -> Results:
        try:
            if self._stop.wait(self._seconds):
                raise CancelledError
            if not self.alive or self._lost(runs):
                self.alive = False
                raise PlaceLostError("a fake place went away")
            only = {signature_of(run.config, len(run.train), len(run.validation)) for run in runs}
            assert len(only) == 1
            self.compiled |= only
            return [result_of(run) for run in runs]
        finally:
            with self._lock:
                self._there -= 1


class FakeTrainer(Trainer):
    """Places that are replaced once they are lost."""

    def __init__(self, make: Sequence[Callable[[], FakePlace]]) -> None:
        super().__init__(TrainingRules(max_epochs=4), size=2)
        self._make = make
        self.now = [one() for one in make]
        self.lost: list[FakePlace] = []

    def places(self) -> list[Place]:
        for index, place in enumerate(self.now):
            if not place.alive:
                self.lost.append(place)
                self.now[index] = self._make[index]()
        return list[Place](self.now)

    @property
    def seen(self) -> list[list[int]]:
        return [seeds for place in [*self.lost, *self.now] for seeds in place.seen]


def trained(trainer: Trainer, runs: list[HeadRun]) -> dict[int, int]:
    """Index -> the seed that its result tells; each index came once."""
    pairs = [pair for found in trainer.train(runs) for pair in found]
    assert max(Counter(index for index, _ in pairs).values()) == 1
    return {index: int(result.learning_rate[0]) for index, result in pairs}


def losing(times: int, wanted: int | None = None) -> Callable[[list[HeadRun]], bool]:
    """Lose so many of the populations (that hold the seed `wanted`)."""
    left = [times]

    def lost(runs: list[HeadRun]) -> bool:
        if not left[0] or (wanted is not None and wanted not in [run.seed for run in runs]):
            return False
        left[0] -= 1
        return True

    return lost


def test_every_run_comes_back_once_from_places_of_different_speed() -> None:
    trainer = FakeTrainer([FakePlace, lambda: FakePlace(seconds=0.2)])
    runs = [*runs_of(30), *runs_of(11, OTHERS[1], first=30)]
    assert trained(trainer, runs) == {index: index for index in range(41)}
    quick, slow = trainer.now
    assert len(quick.seen) > len(slow.seen) > 0  # who is done first gets more
    assert max(quick.together + slow.together) <= 4  # twice what it trains side by side


def test_what_a_lost_place_had_is_trained_elsewhere() -> None:
    lost = losing(1)
    trainer = FakeTrainer([lambda: FakePlace(lost=lost), FakePlace])
    assert trained(trainer, runs_of(40)) == {index: index for index in range(40)}
    assert trainer.lost


def test_a_bystander_of_two_losses_is_not_blamed() -> None:
    places: list[FakePlace] = []

    def make() -> FakePlace:
        lost = losing(1) if len(places) < 2 else losing(0)
        places.append(FakePlace(seconds=0.01, lost=lost))
        return places[-1]

    assert trained(FakeTrainer([make]), runs_of(40)) == {index: index for index in range(40)}
    twice = [seeds for seeds in places[0].seen if seeds in places[1].seen]
    assert twice  # they were there at both losses
    third = places[2]
    alone = [third.together[third.seen.index(seeds)] for seeds in twice]
    assert alone == [1] * len(twice)


def test_runs_that_kill_each_of_their_places_are_refused_alone() -> None:
    kill = losing(100, wanted=7)
    trainer = FakeTrainer([lambda: FakePlace(seconds=0.01, lost=kill)] * 2)
    found: dict[int, int] = {}
    with pytest.raises(MemoryError, match="lost with each of 3 places"):
        for pairs in trainer.train(runs_of(40)):
            found |= {index: int(result.learning_rate[0]) for index, result in pairs}
    assert set(found) == set(range(40)) - {6, 7}  # they come last, so all others are kept
    killed = [place for place in [*trainer.lost, *trainer.now] if [6, 7] in place.seen]
    assert len(killed) == 3
    assert killed[-1].seen[-1] == [6, 7] and killed[-1].together[-1] == 1  # nothing beside it


def test_an_error_of_the_training_is_raised_once_what_ended_is_kept() -> None:
    def fails(runs: list[HeadRun]) -> bool:
        if runs[0].seed == 20:
            raise ValueError("no such rule")
        return False

    trainer = FakeTrainer([lambda: FakePlace(lost=fails)])
    found = []
    with pytest.raises(ValueError, match="no such rule"):
        for pairs in trainer.train(runs_of(40)):
            found += pairs
    assert found


@pytest.mark.parametrize("seconds", [0.0, 30.0])
def test_stopping_gives_up_what_is_under_way(seconds: float) -> None:
    slow = FakePlace(seconds=seconds)
    trainer = FakeTrainer([FakePlace, lambda: slow])
    results = trainer.train(runs_of(400))
    next(results)
    before = time.monotonic()
    results.close()  # type: ignore[attr-defined]
    assert time.monotonic() - before < 10
    assert sum(len(place.seen) for place in trainer.now) < 200
    assert trained(trainer, runs_of(3)) == {0: 0, 1: 1, 2: 2} if not seconds else True


def test_one_program_is_compiled_at_a_place_while_others_train() -> None:
    trainer = FakeTrainer([lambda: FakePlace(seconds=0.02)])
    place = trainer.now[0]
    begun: list[tuple[bool, int]] = []
    submit = place.submit

    def watched(runs: list[HeadRun]) -> Future[Results]:
        begun.append((trainer.signature(runs[0]) in place.compiled, len(place.compiled)))
        return submit(runs)

    place.submit = watched  # type: ignore[method-assign]
    trained(trainer, [*runs_of(20), *runs_of(20, OTHERS[1], first=20)])
    assert [is_known for is_known, _ in begun].count(False) == 2  # the first of each program


def test_a_state_goes_once_it_was_continued() -> None:
    def runs() -> Iterator[HeadRun]:
        for run in runs_of(4):
            yield run._replace(state=HeadState.of(1, (np.zeros(2, np.float32),)))

    given = list(runs())
    trainer = FakeTrainer([FakePlace])
    results = trainer.train(given)
    given.clear()
    left = results.gi_frame.f_locals["self"]._left  # type: ignore[attr-defined]
    for pairs in results:
        assert all(left[index].state is None for index, _ in pairs)


def test_a_wave_is_enough_once_it_keeps_all_places_at_work() -> None:
    one, two = FakeTrainer([FakePlace]), FakeTrainer([FakePlace] * 2)
    counts = one.count(runs_of(8))  # four populations of two
    assert one.are_enough(counts) and not two.are_enough(counts)
