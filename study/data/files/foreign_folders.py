"""Folders to ignore at any depth: output of this program and leftovers of others.

They are ignored as hidden folders are. A study is recognized by its `study.json`, whatever its
name.
"""

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
    """Return whether nothing in `folder` is data."""
    name = folder.name
    return name.startswith(".") or name.casefold() in LITTER or is_output(folder)


def is_output(folder: Path) -> bool:
    """Return whether this program wrote it: a study, or a folder of studies and samples only."""
    if _is_study(folder):
        return True
    try:
        visible = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
        own = (entry.name == SAMPLES or _is_study(entry) for entry in visible)
        return next(own, False) and all(own)
    except OSError:
        return False


def _is_study(folder: Path) -> bool:
    try:
        text = (folder / STUDY_FILE).read_text(encoding="utf-8", errors="replace")
    except OSError:  # no such file, or not readable
        return False
    return STUDY_KEY in text
