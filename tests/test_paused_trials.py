"""What stays in memory of results: states that can be promoted; weights are trained anew."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import make_record
from test_protocol import HEAD, RATE, options, read, study

from study.records.trial_record import Phase, TrialRecord
from study.search.runner import PausedTrials
from study.training.head import head_probabilities
from study.training.runs import HeadState, PackedArray, packed


def score(record: TrialRecord) -> float:
    return record.best_value


def trial(number: int, accuracy: float) -> TrialRecord:
    name = f"{number:04d}"
    record = make_record(
        np.random.default_rng(1),
        "adam",
        Phase.SEARCH,
        trial_id=f"adam/0/search/{name}",
        epochs=3,
        search="adam",
        number=name,
        bracket=1,
        rung=0,
    )
    return replace(record, val_accuracy=[accuracy] * 3, best_epoch=1)


STATE = HeadState.of(3, (np.ones(2, np.float32),))


def test_only_the_best_of_a_rung_wait_and_of_equals_the_first_as_the_oracle_promotes() -> None:
    paused = PausedTrials({(1, 0): 2}, score)
    trials = [trial(n, a) for n, a in enumerate([0.5, 0.7, 0.6, 0.6, 0.4])]
    for record in reversed(trials):
        paused.add(record, STATE)
        assert len(paused) <= 2
    kept = [record.number for record in trials if paused.state_of(record) is STATE]
    assert kept == ["0001", "0002"]


def test_rungs_compete_apart_and_those_that_end_a_bracket_never_wait() -> None:
    paused = PausedTrials({(1, 0): 1, (2, 0): 1}, score)
    one, other = trial(0, 0.9), replace(trial(1, 0.1), bracket=2)
    paused.add(one, STATE)
    paused.add(other, STATE)
    assert paused.state_of(one) and paused.state_of(other)
    assert paused.may_pause(1, 0) and not paused.may_pause(1, 1)
    assert not paused.may_pause(None, None)


def test_states_of_a_rung_that_has_promoted_are_gone() -> None:
    paused = PausedTrials({(1, 0): 2}, score)
    promoted, left = trial(0, 0.9), trial(1, 0.8)
    paused.add(promoted, STATE)
    paused.add(left, STATE)
    paused.keep_only([promoted.trial_id, None])
    assert paused.state_of(promoted) is STATE and paused.state_of(left) is None
    assert len(paused) == 1
    paused.forget(promoted)  # it has gone on
    paused.forget(left)
    assert len(paused) == 0


def test_the_weights_of_a_run_trained_once_more_are_those_that_were_judged(tmp_path: Path) -> None:
    space = read(tmp_path, HEAD + "[optimizers.sgd]\n" + RATE)
    protocol, saved = study(space, options("--repeats", "2", "--confirm", "2"))
    runner = protocol.runner
    runs = [record for record in saved if record.phase is Phase.CONFIRM]
    tasks = [runner.tasks[run.trial_id] for run in runs]
    found = runner.weights_of(tasks, [run.best_epoch for run in runs])
    for run, task, weights in zip(runs, tasks, found, strict=True):
        rows, labels = runner.data.features[task.split.test], runner.data.labels[task.split.test]
        said = head_probabilities(task.config, weights, rows, runner.statistics(task))
        assert np.mean(said.argmax(axis=1) == labels) == pytest.approx(run.test_accuracy)


PADDED = np.zeros((4, 6), np.float32)
PADDED[:3, :2] = [[1, 2], [-0.0, 0], [0, 3]]


@pytest.mark.parametrize(
    ("array", "kept"),
    [
        (PADDED, 6),
        (PADDED.T, 6),
        (np.where(PADDED == 0, np.float32(0.1), PADDED), 6),  # an accumulator's beginning
        (np.zeros((2, 3), np.float32), 0),
        (np.array([0.0, -0.0, 0.0], np.float32), 2),  # they are equal, but not the same
        (np.array([1.0, np.nan, np.nan], np.float32), 1),
        (np.arange(6, dtype=np.int64).reshape(2, 3), 6),
        (np.array(7, np.int64), 1),
        (np.zeros((0, 3), np.float32), 0),
        (np.array([True, False, False]), 1),
    ],
)
def test_an_array_comes_back_bit_by_bit_from_what_is_not_constant_to_its_end(
    array: np.ndarray, kept: int
) -> None:
    one = PackedArray.of(array)
    found = one.restored()
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == np.ascontiguousarray(array).tobytes()
    assert one.values.size == kept
    assert not np.shares_memory(one.values, array)


def test_equal_arrays_of_a_state_are_kept_once() -> None:
    found = packed((PADDED, PADDED.copy(), PADDED[:, :5], PADDED + 1))
    assert found[0] is found[1]
    assert len({id(one) for one in found}) == 3
    assert [one.restored().tolist() for one in found[:2]] == [PADDED.tolist()] * 2
