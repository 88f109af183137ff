"""`trials.jsonl`: one line for each finished run, on the disk before the next one is trained."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from study.common.command import typed
from study.common.errors import UserError
from study.common.files import append_lines, write_atomically
from study.records.study_files import DAMAGE, DAMAGED_FILE, STUDY_FILE, TRIALS_FILE
from study.records.study_meta import StudyMeta
from study.records.trial_record import TrialRecord, from_line, id_of, to_line


def append_trials(study: Path, records: Iterable[TrialRecord]) -> None:
    """Append lines to `trials.jsonl` and flush them to the disk before returning."""
    append_lines(study / TRIALS_FILE, map(to_line, records))


def rewrite_trials(study: Path, records: Iterable[TrialRecord]) -> None:
    """Replace `trials.jsonl` by these records, atomically."""
    write_atomically(study / TRIALS_FILE, (f"{to_line(record)}\n" for record in records))


class TrialLines(NamedTuple):
    """The content of a `trials.jsonl`, read once."""

    whole: list[TrialRecord]  # in the order of the file, in which runs ended
    damaged: list[tuple[int, str]]  # line number, from 1, and reason
    cut: bool  # a kill cut off the last line

    @property
    def records(self) -> list[TrialRecord]:
        """The records in the order of trial ids; of two lines of one run the later one counts."""
        last = {record.trial_id: record for record in self.whole}
        return [last[name] for name in sorted(last)]


def load_trials(study: Path) -> list[TrialRecord]:
    """Return the records of `trials.jsonl` in the order of trial ids.

    A last line that a kill cut off is left out (its run is repeated).

    Raises:
        UserError: a whole line is damaged, or another version wrote it.
    """
    found = read_trials(study)
    if found.damaged:
        number, reason = found.damaged[0]
        raise UserError(
            f"{study / TRIALS_FILE}, line {number}: not a trial record ({reason}); run the search "
            "command again, which sets damaged lines aside and repeats their runs"
        )
    return found.records


def load_records(study: Path, meta: StudyMeta) -> list[TrialRecord]:
    """Return the same, of runs that the study plans; for errors see also `check_plan`."""
    records = load_trials(study)
    check_plan(meta, records, study)
    return records


def check_plan(meta: StudyMeta, records: Iterable[TrialRecord], study: Path) -> None:
    """Refuse records of runs that their study does not plan: one of the two files was edited."""
    for record in records:
        if wrong := _contradiction(meta, record):
            raise UserError(
                f"{study / TRIALS_FILE}: run {record.trial_id} has {wrong}: this file "
                f"or {STUDY_FILE} was changed; restore it, or start again with "
                f"`{typed('search', '--overwrite')}`"
            )


def _contradiction(meta: StudyMeta, record: TrialRecord) -> str:
    """Return what a record has and its id or study has not, in words; "" for nothing."""
    fields = id_of(record)
    if fields != record.trial_id:
        return f"the fields of {fields}"
    if record.optimizer not in meta.optimizers:
        return f"the optimizer {record.optimizer}, which the study has not"
    if record.metric != meta.metric:
        return f"the metric {record.metric}, but the study {meta.metric}"
    for key, found, most in (
        ("repeat", record.repeat, meta.looks[-1].repeats - 1),
        ("epochs", record.epochs, meta.settings["max_epochs"]),
        ("confirm", record.confirm or 0, meta.settings["confirm"] - 1),
        ("versions", record.versions, len(meta.versions) - 1),
    ):
        if found > most:
            return f"{key} {found}, but the study at most {most}"
    return ""


def repair_trials(study: Path, found: TrialLines) -> list[int]:
    """Make `trials.jsonl` safe to append to; return the numbers of the damaged lines.

    They are removed; the file as it was is kept beside it as `trials.damaged.jsonl`. A last line
    that a kill cut off is dropped silently.
    """
    if found.damaged:
        write_atomically(study / DAMAGED_FILE, (study / TRIALS_FILE).read_bytes())
    if found.damaged or found.cut:
        rewrite_trials(study, found.whole)
    return [number for number, _ in found.damaged]


def read_trials(study: Path) -> TrialLines:
    """Read `trials.jsonl`, damaged lines included; a file that is missing has no lines.

    Raises:
        UserError: another version wrote one of the lines.
    """
    path = study / TRIALS_FILE
    found = TrialLines([], [], cut=False)
    if not path.exists():
        return found
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return found._replace(cut=True)
            try:
                found.whole.append(from_line(line[:-1], f"{path}, line {number}"))
            except DAMAGE as error:
                found.damaged.append((number, str(error) or type(error).__name__))
    return found
