"""Which symbolic links are followed: one rule for class folders, what is in them, and tables.

Without `follow_links` only those that lead to a file inside the folder, so that a walk ends and
nothing from elsewhere comes in; with it all, but into no folder twice.
"""

import os
from pathlib import Path

USED = "is a symbolic link to a folder that is used already"


class Links:
    """The rule for what is below `root`, a folder without links in its own path."""

    def __init__(self, root: Path, *, follow: bool) -> None:
        """Begin with no folder."""
        self._root, self.follow = root, follow
        self._inside: dict[Path, bool] = {}  # folder -> whether it really is below `root`

    def why_not(self, path: Path) -> str:
        """Return why a file or folder is not read, to be read after its name, or ""."""
        if self.follow:
            return ""
        if is_link(path) and path.is_dir():
            return "is a symbolic link to a folder: --follow-links uses it"
        folder = path.parent
        if folder not in self._inside:
            self._inside[folder] = self._is_inside(folder)
        if self._inside[folder] and (not is_link(path) or self._is_inside(path)):
            return ""
        return "is a symbolic link that leads out of the folder: --follow-links uses it"

    def _is_inside(self, path: Path) -> bool:
        return Path(os.path.realpath(path)).is_relative_to(self._root)


def is_link(path: Path) -> bool:
    """Return whether a path is a symbolic link; not where its folder cannot be entered."""
    return os.path.islink(path)  # noqa: PTH114, `Path.is_symlink` raises there


def is_circle(path: Path) -> bool:
    """Return whether a path is a symbolic link to a folder that contains it."""
    return is_link(path) and path.parent.resolve().is_relative_to(os.path.realpath(path))


def is_used(folder: Path, used: set[str]) -> bool:
    """Return whether a folder is one of the `used` real paths, or contains one."""
    target = os.path.realpath(folder)
    return any(target == one or one.startswith(target + os.sep) for one in used)
