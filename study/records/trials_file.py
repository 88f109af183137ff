"""`trials.jsonl`: one line a finished run, on the disk before the next one is trained."""

import os
from collections.abc import Iterable
from pathlib import Path

from study.common.errors import UserError
from study.common.files import write_atomically
from study.records.layout import DAMAGED_FILE, TRIALS_FILE
from study.records.trial_record import TrialRecord, from_line, to_line


def append_trials(study: Path, records: Iterable[TrialRecord]) -> None:
    """Append lines to `trials.jsonl` and flush them to the disk before returning."""
    lines = "".join(to_line(record) + "\n" for record in records)
    if not lines:
        return
    study.mkdir(parents=True, exist_ok=True)
    with (study / TRIALS_FILE).open("a", encoding="utf-8") as file:
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())


def rewrite_trials(study: Path, records: Iterable[TrialRecord]) -> None:
    """Replace `trials.jsonl` by these records, atomically."""
    write_atomically(study / TRIALS_FILE, "".join(to_line(record) + "\n" for record in records))


def load_trials(study: Path) -> list[TrialRecord]:
    """Read `trials.jsonl` in the order of trial ids: the file's own is that in which runs ended.

    A last line that was cut off by a kill is left out (its run is repeated); of two lines of one
    run the later one counts.

    Raises:
        UserError: a whole line is damaged, or a newer version wrote it; the sentence gives file
            and line number.
    """
    whole, damaged, _ = _read_lines(study / TRIALS_FILE)
    if damaged:
        number, reason = damaged[0]
        raise UserError(
            f"{study / TRIALS_FILE}, line {number}: not a trial record ({reason}); run the search "
            "command again, which sets damaged lines aside and repeats their runs"
        )
    return sorted(
        {record.trial_id: record for record in whole}.values(), key=lambda record: record.trial_id
    )


def recorded_optimizers(study: Path) -> set[str]:
    """Which optimizers have runs, whatever else is damaged."""
    return {record.optimizer for record in _read_lines(study / TRIALS_FILE)[0]}


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
            records.append(from_line(line, f"{path}, line {number}"))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            damaged.append((number, str(error) or type(error).__name__))
    return records, damaged, bool(last)
