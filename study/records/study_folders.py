"""The folders of studies under a logs folder: the newest, or one by its name."""

from pathlib import Path

from study.common.command import typed
from study.common.errors import UserError
from study.common.text import printable
from study.records.study_files import STUDY_FILE, WINNER_FILE
from study.records.study_meta import load_meta


def find_study(logs: Path, study: str | None) -> Path:
    """The folder of `study`, or of the newest one.

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
    """Sorts by creation, then by the file's time; a damaged study never is the newest."""
    try:
        created = str(load_meta(folder).created)
    except UserError:
        created = ""
    return created, (folder / STUDY_FILE).stat().st_mtime


def find_winner(logs: Path, study: str | None) -> Path:
    """The folder of `study`, or of the newest one with a winner.

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
        return max(found.values(), key=lambda folder: (folder / WINNER_FILE).stat().st_mtime)
    if study not in found:
        raise UserError(
            f"no study named {study!r} with a winner in {printable(logs)}; "
            f"known: {', '.join(sorted(found))}"
        )
    return found[study]
