"""Every trial of finished or running studies, for TensorBoard, in a folder of the user's own.

The search itself shows one run an optimizer: TensorBoard selects none by itself where there are
thousands.
"""

import shlex
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from study.common.aliases import Value
from study.common.errors import UserError
from study.common.text import printable
from study.records.study_folders import find_study
from study.records.study_meta import load_meta
from study.records.trial_record import TrialRecord
from study.records.trials_file import load_trials
from study.tensorboard.events import RunFile
from study.tensorboard.hparams_columns import table_columns
from study.tensorboard.optimizer_runs import run_name, trial_events


def write_trials(logs: Path, names: Sequence[str], target: Path) -> None:
    """Write the trials of studies below `target`/<study>, in place of what was written there.

    Args:
        logs: folder of the studies.
        names: of the studies; none: the newest.
        target: the folder, anywhere but among the studies.

    Raises:
        UserError: no such study, a damaged file, or `target` is not for this.
    """
    wanted: Iterable[str | None] = dict.fromkeys(names) or [None]
    studies = [find_study(logs, name) for name in wanted]
    _check_place(logs, target)
    for study in studies:
        _check_folder(target / study.name)
    metas = [load_meta(study) for study in studies]
    spaces = [meta.space["table"] for meta in metas]
    judged_by = dict.fromkeys(meta.metric for meta in metas)
    for study in studies:
        records = load_trials(study)
        folder = target / study.name
        if folder.exists():
            shutil.rmtree(folder)
        values: dict[str, Value] = {}
        for record in records:
            values |= record.hyperparameters
        first = f"table/val_{next(iter(judged_by))}"
        RunFile(folder).append([table_columns(spaces, values, first=first, judged_by=judged_by)])
        runs = _write_runs(folder, study.name, records)
        print(f"{folder}: {runs} runs")
    print(f"\nnext:\n  tensorboard --logdir {shlex.quote(str(target))}")


def _write_runs(folder: Path, study: str, records: Iterable[TrialRecord]) -> int:
    """One run a configuration; returns how many there are."""
    files: dict[str, RunFile] = {}  # trial_id -> file of its run
    begun = 0
    for record in records:
        before = files.get(record.continues or "")  # None too if that line was damaged
        begun += before is None
        file = before or RunFile(folder / run_name(record))
        files[record.trial_id] = file
        file.append(trial_events(study, record, begins=before is None))
    return begun


def _check_place(logs: Path, target: Path) -> None:
    """Refuse a file, and a place where TensorBoard would find the trials beside the studies."""
    if target.exists() and not target.is_dir():
        raise UserError(f"`trials_to`: {printable(target)} is no folder; name another one")
    whole = target.resolve()
    if logs.resolve() in (whole, *whole.parents):
        raise UserError(
            f"`trials_to`: {printable(target)} lies in {printable(logs)}, where TensorBoard would "
            "show nothing of the studies for all their trials; name a folder elsewhere"
        )


def _check_folder(folder: Path) -> None:
    """Refuse to replace what did not come from here."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(f"`trials_to`: {printable(folder)} is no folder; name another one")
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_dir() or "tfevents" in path.name):
            raise UserError(
                f"`trials_to`: {printable(folder)} also holds "
                f"{printable(path.relative_to(folder))!r}, which is none of TensorBoard's files, "
                "and would be deleted; name another folder"
            )
