"""Every trial of finished or running studies, for TensorBoard, in a folder of the user's own.

The search itself shows one run for each optimizer: TensorBoard selects no run by itself where there
are thousands.
"""

import shlex
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from study.common.errors import UserError
from study.common.text import printable
from study.records.study_folders import find_study
from study.records.study_meta import load_meta
from study.records.trials_file import load_records
from study.tensorboard.hparams_columns import Tuned, write_columns
from study.tensorboard.optimizer_runs import TrialRuns


def write_trials(logs: Path, names: Sequence[str], target: Path) -> None:
    """Write the trials of studies below `target`/<study>, in place of what was written there.

    Without `names` it is the newest study in `logs`.

    Raises:
        UserError: a study is unknown or damaged, or `target` cannot be used.
    """
    wanted: Iterable[str | None] = dict.fromkeys(names) or [None]
    studies = [find_study(logs, name) for name in wanted]
    _check_place(logs, target)
    for study in studies:
        _check_folder(target / printable(study.name))
    metas = [load_meta(study) for study in studies]
    first = f"table/val_{metas[0].metric}"
    write_columns(target, map(Tuned.of, metas), first=first, several=len(metas) > 1)
    for study, meta in zip(studies, metas, strict=True):
        records = load_records(study, meta)
        folder = target / printable(study.name)
        if folder.exists():
            shutil.rmtree(folder)
        print(f"{printable(folder)}: {TrialRuns(folder, folder.name).write(records)} runs")
    print(f"\nnext:\n  tensorboard --logdir {shlex.quote(printable(target))}")


def _check_place(logs: Path, target: Path) -> None:
    """Refuse a file, and a place where TensorBoard would find the trials beside the studies."""
    if target.exists() and not target.is_dir():
        raise UserError(f"`trials_to`: {target} is not a folder; name another one")
    whole = target.resolve()
    if logs.resolve() in (whole, *whole.parents):
        raise UserError(
            f"`trials_to`: {target} is inside {logs}, where TensorBoard "
            "would show so many trials that it hides the studies; name a folder elsewhere"
        )


def _check_folder(folder: Path) -> None:
    """Refuse to replace anything but event files."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(f"`trials_to`: {folder} is not a folder; name another one")
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_dir() or "tfevents" in path.name):
            raise UserError(
                f"`trials_to`: {folder} also holds "
                f"'{path.relative_to(folder)}', which is not a file of TensorBoard and "
                "would be deleted; name another folder"
            )
