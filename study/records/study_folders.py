"""The folders of studies under a logs folder: the newest, or one by its name."""

from pathlib import Path

from study.common.command import typed
from study.common.errors import UserError
from study.common.text import printable
from study.records.study_files import STUDY_FILE, WINNER_FILE
from study.records.study_meta import load_meta


def find_study(logs: Path, study: str | None) -> Path:
    """The folder of `study`, or of the newest one that can be read.

    Raises:
        UserError: there is no study, or none of that name.
    """
    found = sorted(path.parent for path in logs.glob(f"*/{STUDY_FILE}"))
    if not found:
        raise UserError(
            f"no studies in {logs}: run `{typed('search')}` first, or give the folder with `logs`"
        )
    if study is None:
        return max(found, key=_age)
    for folder in found:
        if folder.name == study:
            return folder
    raise UserError(
        f"no study named {study!r} in {logs}; known: {', '.join(path.name for path in found)}"
    )


def _age(folder: Path) -> tuple[str, float]:
    """Sorts by creation, then by the file's time; one that cannot be read never is the newest."""
    return _created(folder), (folder / STUDY_FILE).stat().st_mtime


def _created(folder: Path) -> str:
    """When a study was begun; empty where it is damaged, or of another version."""
    try:
        return load_meta(folder).created
    except UserError:
        return ""


def find_winner(logs: Path, study: str | None) -> Path:
    """The folder of `study`, or of the one with the newest winner of those that can be read.

    Raises:
        UserError: there is none.
    """
    found = {
        path.parent.name: path.parent
        for path in logs.glob(f"*/{STUDY_FILE}")
        if (path.parent / WINNER_FILE).is_file()
    }
    if not found:
        raise UserError(
            f"no study in {printable(logs)} has a winner yet: run `{typed('search')}` to its "
            "end, or give the folder of the studies with `logs`"
        )
    if study is None:
        return max(found.values(), key=_age_of_winner)
    if study not in found:
        raise UserError(
            f"no study named {study!r} with a winner in {printable(logs)}; "
            f"known: {', '.join(sorted(found))}"
        )
    return found[study]


def _age_of_winner(folder: Path) -> tuple[bool, float]:
    """Sorts as `_age` does, by the winner's own file."""
    return _created(folder) != "", (folder / WINNER_FILE).stat().st_mtime
