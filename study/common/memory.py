"""How much memory this process may use: the machine's, or less in a control group or by a limit."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

PROC, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def usable_memory(proc: Path = PROC, groups: Path = GROUPS) -> int:
    """Return the bytes that this process may use; unlimited if unknown (Windows).

    The file `proc` names the process's control groups, whose limits are in `groups`.
    """
    found = [sys.maxsize, *_of_groups(proc, groups)]
    if hasattr(os, "sysconf"):
        import resource  # not on Windows

        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        limits = (resource.getrlimit(one)[0] for one in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
        found += [one for one in limits if one != resource.RLIM_INFINITY]
    return min(found)


def _of_groups(proc: Path, groups: Path) -> Iterator[int]:
    """Yield the limits of the process's group and of those around it, in either version.

    In a container the path may be the host's, of which only the top is mounted.
    """
    with contextlib.suppress(OSError, ValueError):
        for line in proc.read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds and "memory" not in kinds.split(","):
                continue
            top = groups / "memory" if kinds else groups
            name = "memory.limit_in_bytes" if kinds else "memory.max"
            inside = Path(path.lstrip("/"))
            for group in (inside, *inside.parents):
                with contextlib.suppress(OSError, ValueError):  # "max": no limit
                    yield int((top / group / name).read_text())
