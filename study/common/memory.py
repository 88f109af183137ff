"""What the C library keeps of freed memory goes back to the system.

glibc keeps what was freed for later, in an arena for every few threads. A compilation frees 100 MB
in thousands of pieces, whichever thread it ran in, and arrays of a megabyte that come and go
between arrays that stay leave holes. Both only look like memory that a study needs.
"""

import ctypes
import functools
import sys
from typing import Any

LARGE = 256 * 1024  # bytes; from here on a piece is a mapping of its own, gone once it is freed
_MMAP_THRESHOLD, _ARENA_MAX = -3, -8  # of glibc's malloc.h
ARENAS = 2


@functools.cache
def _glibc() -> Any:
    """The C library; None where it is another one."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None


def keep_little() -> None:
    """Map large pieces one by one and share few arenas; before the threads start.

    Without this glibc raises its limit to 32 MB as soon as one such piece was freed.
    """
    if (library := _glibc()) is not None:
        library.mallopt(_MMAP_THRESHOLD, LARGE)
        library.mallopt(_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Return what is free to the system; tens of milliseconds."""
    if (library := _glibc()) is not None:
        library.malloc_trim(0)
