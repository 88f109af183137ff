"""Ctrl-C and SIGTERM: the first one is answered at once, a second one does not wait.

What is under way (a program being compiled, a few epochs) cannot be interrupted, only waited for.
Whoever asks again does not want to: the process ends there and then, as after a kill, which a study
survives, but without the complaints of threads that are still at work.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from study.common.command import STOPPED


@contextmanager
def stoppable() -> Iterator[None]:
    """Inside, the first signal raises KeyboardInterrupt; each later one ends the process."""
    asked = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(STOPPED)
        asked = True
        raise KeyboardInterrupt

    before = {
        one: signal.signal(one, stop)
        for one in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(one) is not signal.SIG_IGN  # by nohup, or a shell for its background
    }
    try:
        yield
    finally:
        if not asked:  # else the process is about to end, and must not do so with a traceback
            for one, handler in before.items():
                signal.signal(one, handler)
