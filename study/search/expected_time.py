"""How long a study will take on this machine.

The cost of a run is counted in seconds of one core of the machine that `COMPILED`, `KEPT`, `STEP`
and `WEIGHT` were measured on. What the newest finished study here took says how much slower this
machine is; without one, a hundredth of a second of arithmetic does.
"""

import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from study.common.errors import UserError
from study.records.study_files import DAMAGE, STUDY_FILE, TRIALS_FILE
from study.records.study_meta import StudyMeta, load_meta
from study.records.trial_record import TrialRecord, from_line

# Seconds of one core, measured in studies of the faces with 1 to 3 widths: to trace and compile a
# program; to read one, with the slots that stay empty; to train a step of a head, and on top of it
# one weight of its dense layer on up to `ROWS` rows.
COMPILED, KEPT, STEP, WEIGHT = 4.0, 0.8, 5e-4, 1.2e-9
ROWS = 16
PROBE = 4.5e-5  # seconds of `_timed` there
SEEN = 400  # records of an earlier study that are read


class Expected(NamedTuple):
    """Seconds that a study takes here."""

    programs: int  # at most
    compiling: float  # all of them
    epoch: float  # of one run

    def words(self, epochs: int) -> str:
        """Return the time of so many epochs, as "50 s", "7 min" or "2.5 h"."""
        return in_words(self.compiling + epochs * self.epoch)

    def left(
        self, programs: Callable[[], int], epochs: float, trained: float, seconds: float
    ) -> float:
        """Return the seconds left for so many epochs; `programs` returns how many are there.

        The epochs `trained` so far took so many seconds, without compiling.
        """
        epoch = seconds / trained if seconds else self.epoch
        return self.compiling * max(1 - programs() / self.programs, 0) + epochs * epoch


def in_words(seconds: float) -> str:
    """Return a time as "50 s", "7 min" or "2.5 h"."""
    if seconds < 90:
        return f"{math.ceil(seconds / 10) * 10} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def epoch_cost(rows: int, batch: float, weights: float) -> float:
    """Return the seconds of an epoch on one core of that machine.

    It has so many training rows, `batch` of them in a step, for so many weights of dense layers.
    """
    return math.ceil(rows / batch) * (STEP + weights * WEIGHT * max(batch, ROWS) / ROWS)


def slowness(logs: Path, device: Mapping[str, str]) -> float | None:
    """Return how many times slower than there a core of this machine is, from the studies here.

    Of a GPU only an earlier study tells, so without one it is None.
    """
    seen = []
    for file in logs.glob(f"*/{STUDY_FILE}"):
        with suppress(UserError):  # damaged, or of another version
            meta = load_meta(file.parent)
            if meta.finished and all(meta.device[n] == device[n] for n in ("kind", "name")):
                seen.append(meta)
    for meta in sorted(seen, key=lambda one: one.created)[-1:]:
        runs = _first_records(logs / meta.name)
        if cost := sum(_cost(meta, run) for run in runs):
            return (os.cpu_count() or 1) * sum(run.seconds for run in runs) / cost
    return _timed() / PROBE if device["kind"] == "cpu" else None


def _first_records(study: Path) -> list[TrialRecord]:
    with (study / TRIALS_FILE).open("rb") as file, suppress(OSError, *DAMAGE):
        return [from_line(line.rstrip(), TRIALS_FILE) for line in islice(file, SEEN)]
    return []


def _cost(meta: StudyMeta, run: TrialRecord) -> float:
    rows, given = meta.split_sizes["train"], run.hyperparameters
    batch, width = given["batch_size"], float(given["dense_width"])
    padded = min((one for one in meta.device["widths"] if one >= width), default=width)
    weights = padded * (meta.data["features"] + len(meta.class_names))
    per_epoch = epoch_cost(rows, rows if batch == "full" else float(batch), weights)
    return (run.epochs - run.initial_epoch) * per_epoch


def _timed() -> float:
    """Return the seconds that a core takes for 1e5 numbers; the least of many is undisturbed."""
    numbers = np.linspace(0, 1, 100_000, dtype=np.float32)
    out, seconds = np.empty_like(numbers), []
    for _ in range(100):
        start = time.perf_counter()
        np.multiply(np.tanh(numbers, out=out), numbers, out=out)
        seconds.append(time.perf_counter() - start)
    return min(seconds)
