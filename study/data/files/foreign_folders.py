"""Folders that are no part of the data, at every depth: this program's own, other programs' litter.

They are passed over like hidden ones. A study is known by its `study.json`, whatever its name.
"""

from collections.abc import Iterator
from pathlib import Path

SAMPLES = "samples.png"  # what `study.data` draws into the folder of the studies
STUDY_FILE, STUDY_KEY = "study.json", '"split_digests"'  # other programs write a study.json, too
# Of Synology, QNAP, Windows, Linux, macOS, Python; in small letters.
LITTER = frozenset(
    ("#recycle", "#snapshot", "@eadir", "@tmp", "@recycle", "@recently-snapshot", "@__thumb",
     "$recycle.bin", "system volume information", "found.000", "lost+found", "__macosx",
     "network trash folder", "temporary items", "__pycache__")
)  # fmt: skip


def is_foreign(folder: Path) -> bool:
    """Whether nothing in `folder` is data."""
    name = folder.name
    return name.startswith(".") or name.casefold() in LITTER or is_output(folder)


def is_output(folder: Path) -> bool:
    """Whether this program wrote it: a study, or a folder of studies and samples only."""
    return _is_study(folder) or _holds_studies_only(folder)


def _is_study(folder: Path) -> bool:
    try:
        text = (folder / STUDY_FILE).read_text(encoding="utf-8", errors="replace")
    except OSError:  # there is none, or nobody may read it
        return False
    return STUDY_KEY in text


def _holds_studies_only(folder: Path) -> bool:
    inside = list(_own(folder))
    return bool(inside) and all(inside)


def _own(folder: Path) -> Iterator[bool]:
    """For each visible entry, up to the first other one, whether this program wrote it."""
    try:
        for entry in folder.iterdir():
            if not entry.name.startswith("."):
                own = entry.name == SAMPLES or _is_study(entry)
                yield own
                if not own:
                    return
    except OSError:
        yield False
