"""What the C library keeps of freed memory goes back to the system.

glibc keeps what was freed for later. A compilation frees 100 MB in thousands of pieces, in the
arena of whichever thread it ran in, and arrays that come and go leave holes: it only looks like
memory that a study needs.
"""

import ctypes
import functools
import gc
import sys
from typing import Any

MOST_ARENAS = 2
_M_ARENA_MAX = -8  # of <malloc.h>


@functools.cache
def _glibc() -> Any:
    """The C library; None where it is another one."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None


def share_arenas() -> None:
    """From now on threads share `MOST_ARENAS` heaps; glibc would give each its own, up to 8 a core.

    What one thread has freed another can use then. Call it before there are threads.
    """
    if (library := _glibc()) is not None:
        library.mallopt(_M_ARENA_MAX, MOST_ARENAS)


def give_back(*, cycles: bool = False) -> None:
    """Return what is free to the system; tens of milliseconds.

    Args:
        cycles: look for objects that only hold each other first, as a Keras model's do; half a
            second.
    """
    if cycles:
        gc.collect()
    if (library := _glibc()) is not None:
        library.malloc_trim(0)
