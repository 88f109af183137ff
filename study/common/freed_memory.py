"""Give freed memory back to the system, which glibc would keep for later.

A compilation frees 100 MB in thousands of pieces, in the arena of whichever thread it ran in, and
arrays that come and go leave holes: a study would seem to need memory that it does not use.
"""

import ctypes
import functools
import gc
import sys
from typing import Any

MOST_ARENAS = 2
_M_ARENA_MAX = -8  # of <malloc.h>


def share_arenas() -> None:
    """Let all threads share `MOST_ARENAS` heaps; glibc would create up to 8 for each core.

    Memory that one thread has freed can then be used by another. Call it before threads start.
    """
    if (library := _glibc()) is not None:
        library.mallopt(_M_ARENA_MAX, MOST_ARENAS)


def give_back(*, cycles: bool = False) -> None:
    """Return free memory to the system, in tens of milliseconds.

    With `cycles` also that of objects that only refer to each other, as a Keras model's do; half a
    second.
    """
    if cycles:
        gc.collect()
    if (library := _glibc()) is not None:
        library.malloc_trim(0)


@functools.cache
def _glibc() -> Any:
    """Return the C library; None if it is not glibc."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
