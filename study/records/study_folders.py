"""The folders of studies under a logs folder: the newest, or one by its name."""

from collections.abc import Mapping
from pathlib import Path

from study.common.command import typed
from study.common.errors import UserError
from study.records.study_files import STUDY_FILE, WINNER_FILE
from study.records.study_meta import load_meta


def find_study(logs: Path, study: str | None) -> Path:
    """Return the folder of `study`, or of the newest one that can be read.

    Raises:
        UserError: `logs` holds no study, or none of this name.
    """
    found = _with_file(STUDY_FILE, logs)
    if not found:
        raise UserError(
            f"no studies in {logs}: run `{typed('search')}` first, or give the folder with `logs`"
        )
    if study is None:
        return max(found.values(), key=lambda one: (_created(one), _age(one / STUDY_FILE)))
    return _named(study, found, f"in {logs}")


def find_winner(logs: Path, study: str | None) -> Path:
    """Return the folder of `study`, or of the one with the newest winner of those that can be read.

    Raises:
        UserError: `logs` holds no study with a winner, or none of this name.
    """
    found = _with_file(WINNER_FILE, logs)
    if not found:
        raise UserError(
            f"no study in {logs} has a winner yet: run `{typed('search')}` to its "
            "end, or give the folder of the studies with `logs`"
        )
    if study is None:
        return max(found.values(), key=lambda one: (_created(one) != "", _age(one / WINNER_FILE)))
    return _named(study, found, f"with a winner in {logs}")


def _with_file(name: str, logs: Path) -> dict[str, Path]:
    """Return name -> folder of the studies that hold this file, in ascending order."""
    folders = sorted(path.parent for path in logs.glob(f"*/{STUDY_FILE}"))
    return {folder.name: folder for folder in folders if (folder / name).is_file()}


def _named(study: str, found: Mapping[str, Path], where: str) -> Path:
    if study not in found:
        raise UserError(f"no study named '{study}' {where}; known: {', '.join(found)}")
    return found[study]


def _created(folder: Path) -> str:
    """Return when a study was started; empty if it is damaged, or of another version."""
    try:
        return load_meta(folder).created
    except UserError:
        return ""


def _age(path: Path) -> float:
    return path.stat().st_mtime
