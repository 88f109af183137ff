"""Where the time of a search went: its stages, one after the other, and what ran beside them."""

import time
from collections.abc import Sequence

from study.common.text import counted
from study.training.program_cache import Compilation


class TimeSpent:
    """Seconds of each stage; begins with the first."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()
        self._seconds: dict[str, float] = {}

    def ended(self, stage: str) -> float:
        """A stage is over; returns its seconds."""
        now = time.monotonic()
        self._seconds[stage] = seconds = now - self._last
        self._last = now
        return seconds

    @property
    def total(self) -> float:
        """Seconds until the end of the last stage."""
        return self._last - self._start

    def line(self, programs: Sequence[Compilation]) -> str:
        """All of it in a sentence; `programs` were compiled beside the stages."""
        stages = ", ".join(f"{seconds:.0f} s {stage}" for stage, seconds in self._seconds.items())
        return f"time: {stages}; {self.total:.0f} s in all{_beside(programs)}"


def _beside(programs: Sequence[Compilation]) -> str:
    if not programs:
        return ""
    kept = sum(one.kept for one in programs)
    made = len(programs) - kept
    parts = [f"{counted(made, 'program')} compiled"] if made else []
    parts += [f"{counted(kept, 'program')} read from the cache"] if kept else []
    return f"; {' and '.join(parts)} beside the rest during {covered(programs):.0f} s of it"


def covered(programs: Sequence[Compilation]) -> float:
    """Seconds in which at least one of them was under way."""
    total, until = 0.0, float("-inf")
    for one in sorted(programs):
        total += max(one.end - max(one.start, until), 0.0)
        until = max(until, one.end)
    return total
