"""What a study writes and the report reads: `study.json` and one JSON line a finished run.

Search and report meet only here, in files with named keys. A line of `trials.jsonl` is a whole
run from epoch 1, also where it continued an earlier rung, so every line can be read alone. Numbers
that are not finite are `null` in the file and NaN in memory, so the file is strict JSON.
"""

import enum
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from study.common.aliases import Value
from study.common.errors import UserError
from study.common.files import write_atomically


def finite(value: Any) -> Any:
    """The same with None for NaN and infinities, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return value


STUDY_FILE = "study.json"
TRIALS_FILE = "trials.jsonl"
DAMAGED_FILE = "trials.damaged.jsonl"
PREDICTIONS_FILE = "best/predictions.json"
WINNER_FILE = "best/winner.keras"


class TrialStatus(enum.StrEnum):
    """How a run ended."""

    COMPLETED = "completed"  # every epoch was trained, every loss finite
    DIVERGED = "diverged"  # the loss became NaN, infinite or absurd; scored at chance
    FAILED = "failed"  # it could not be trained (out of memory); the message says why


class Phase(enum.StrEnum):
    """Which part of the protocol a run belongs to."""

    DEFAULT = "default"  # Keras's default settings, nothing tuned
    SEARCH = "search"  # a trial proposed by the tuner
    CONFIRM = "confirm"  # the winner of a search, rerun with a fresh seed on a fresh split


@dataclass(frozen=True)
class TrialRecord:
    """One finished run. Curves have one entry an epoch, from epoch 1 to `epochs`."""

    trial_id: str  # unique in the study, e.g. "adam/0/search/0012"
    optimizer: str  # the name in the search space
    repeat: int  # from 0
    phase: Phase
    seed: int  # of initial weights, order of rows and dropout
    split: str  # digest of the train/validation/test rows
    hyperparameters: Mapping[str, Value]  # learning_rate, beta_1, schedule, dense_width ...
    epochs: int  # trained in all, earlier rungs included
    status: TrialStatus
    loss: list[float]  # training, mean over the epoch, with dropout
    accuracy: list[float]
    val_loss: list[float]
    val_accuracy: list[float]
    learning_rate: list[float]  # at the last step of each epoch
    best_epoch: int  # from 1, the first with the highest val_accuracy; 0: no epoch
    seconds: float  # of training, this run's share, earlier rungs not included
    bracket: int | None = None  # Hyperband only
    round: int | None = None  # Hyperband's rung within the bracket, from 0
    continues: str | None = None  # trial_id of the rung it was promoted from
    initial_epoch: int = 0  # epochs that the earlier rungs had trained
    confirm: int | None = None  # number of the confirmation run, from 0
    test_accuracy: float | None = None  # at the best epoch; confirmation and default runs
    test_loss: float | None = None
    message: str = ""

    @property
    def best_val_accuracy(self) -> float:
        """Validation accuracy at the best epoch; NaN if no epoch was finished."""
        return self.val_accuracy[self.best_epoch - 1] if self.val_accuracy else math.nan


@dataclass(frozen=True)
class StudyMeta:
    """What `study.json` says: enough to repeat the study and to draw its report."""

    name: str
    settings: Mapping[str, Any]  # the options in force
    optimizers: list[str]  # in the order of the search space
    class_names: list[str]
    class_counts: list[int]
    split_sizes: Mapping[str, int]  # train, validation, test
    data: Mapping[str, Any]  # folder name, image count, fingerprint
    space: Mapping[str, Any]  # name, fingerprint, the TOML as a table
    split_digests: Mapping[str, str]
    device: Mapping[str, Any]  # kind, name, dtype of the backbone
    versions: Mapping[str, str]
    weights: Mapping[str, str]  # source and digest
    created: str  # ISO 8601, UTC
    git_commit: str | None = None
    finished: bool = False
    partial: str = ""  # why the study ended early, in words; empty if it did not
    seconds: Mapping[str, float] = field(default_factory=dict)  # features, search


def append_trials(study: Path, records: Iterable[TrialRecord]) -> None:
    """Append lines to `trials.jsonl` and flush them to the disk before returning."""
    lines = "".join(_line(record) + "\n" for record in records)
    if not lines:
        return
    study.mkdir(parents=True, exist_ok=True)
    with (study / TRIALS_FILE).open("a", encoding="utf-8") as file:
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())


def rewrite_trials(study: Path, records: Iterable[TrialRecord]) -> None:
    """Replace `trials.jsonl` by these records, atomically."""
    write_atomically(study / TRIALS_FILE, "".join(_line(record) + "\n" for record in records))


def load_trials(study: Path) -> list[TrialRecord]:
    """Read `trials.jsonl` in the order of trial ids: the file's own is that in which runs ended.

    A last line that was cut off by a kill is left out (its run is repeated).

    Raises:
        UserError: a whole line is damaged; the sentence gives file and line number.
    """
    whole, damaged, _ = _read_lines(study / TRIALS_FILE)
    if damaged:
        number, reason = damaged[0]
        raise UserError(
            f"{study / TRIALS_FILE}, line {number}: not a trial record ({reason}); run the search "
            "command again, which sets damaged lines aside and repeats their runs"
        )
    return sorted(whole, key=lambda record: record.trial_id)


def repair_trials(study: Path) -> list[int]:
    """Make `trials.jsonl` safe to append to; the numbers of the damaged lines that were set aside.

    The file as it was is kept beside it as `trials.damaged.jsonl`. A last line that a kill cut off
    is no damage: it is dropped silently.
    """
    path = study / TRIALS_FILE
    whole, damaged, cut = _read_lines(path)
    if damaged:
        write_atomically(study / DAMAGED_FILE, path.read_bytes())
    if damaged or cut:
        rewrite_trials(study, whole)
    return [number for number, _ in damaged]


def _read_lines(path: Path) -> tuple[list[TrialRecord], list[tuple[int, str]], bool]:
    """(records, (number, reason) of damaged lines, whether the last line has no end)."""
    if not path.exists():
        return [], [], False
    *lines, last = path.read_bytes().split(b"\n")
    records, damaged = [], []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(_record(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            damaged.append((number, str(error) or type(error).__name__))
    return records, damaged, bool(last)


def save_meta(study: Path, meta: StudyMeta) -> None:
    """Write `study.json` atomically."""
    text = json.dumps(asdict(meta), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if not text.isascii():  # names that are no valid text keep their bytes as escapes
        text = re.sub(r"[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)
    write_atomically(study / STUDY_FILE, text)


def load_meta(study: Path) -> StudyMeta:
    """Read `study.json`.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = study / STUDY_FILE
    try:
        return StudyMeta(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"no study at {study}: {STUDY_FILE} is missing") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} is damaged ({error}); restore it or start anew with --overwrite"
        ) from error


_CURVES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")


def _line(record: TrialRecord) -> str:
    table = asdict(record)
    for key in _CURVES:
        table[key] = [_finite(value) for value in table[key]]
    for key in ("test_accuracy", "test_loss"):
        table[key] = _finite(table[key])
    return json.dumps(table, ensure_ascii=False, allow_nan=False)


def rounded(value: float) -> float:
    """`value` to 7 digits, float32's own precision: what is written is what was decided on."""
    return float(f"{value:.7g}")


def _finite(value: float | None) -> float | None:
    """NaN and infinities become None."""
    return None if value is None or not math.isfinite(value) else rounded(value)


def _record(table: dict[str, Any]) -> TrialRecord:
    for key in _CURVES:
        table[key] = [math.nan if value is None else float(value) for value in table[key]]
    lengths = {len(table[key]) for key in _CURVES}
    if len(lengths) > 1 or not 0 <= table["best_epoch"] <= lengths.pop():
        raise ValueError("curves and best_epoch do not fit together")
    table["status"] = TrialStatus(table["status"])
    table["phase"] = Phase(table["phase"])
    return TrialRecord(**table)


def _check_meta(folder: Path, meta: StudyMeta) -> None:
    texts = (meta.optimizers, meta.class_names)
    whole = (
        all(isinstance(names, list) and all(isinstance(n, str) for n in names) for names in texts)
        and isinstance(meta.class_counts, list)
        and len(meta.class_counts) == len(meta.class_names)
        and all(isinstance(count, int) for count in meta.class_counts)
        and all(
            isinstance(t, dict) for t in (meta.settings, meta.split_sizes, meta.data, meta.space)
        )
    )
    if not whole:
        raise UserError(
            f"{folder / STUDY_FILE} is damaged (optimizers, class_names, class_counts, settings, "
            "split_sizes, data or space); restore it or start anew with --overwrite"
        )
