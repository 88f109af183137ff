"""Where the time of a search went: its stages in a row, and the compiling alongside them."""

import time
from collections.abc import Sequence

from study.common.text import counted
from study.training.program_cache import Compilation


class TimeSpent:
    """Seconds of each stage; the first stage starts now."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self.seconds: dict[str, float] = {}

    def ended(self, stage: str) -> None:
        """Note that a stage has ended."""
        now = time.monotonic()
        self.seconds[stage] = now - self._last
        self._last = now

    def line(self, programs: Sequence[Compilation]) -> str:
        """Return a sentence about all stages, and the `programs` made or read alongside them."""
        stages = ", ".join(f"{seconds:.0f} s {stage}" for stage, seconds in self.seconds.items())
        kept = sum(one.kept for one in programs)
        made = len(programs) - kept
        found = [f"{counted(made, 'program')} compiled"] if made else []
        found += [f"{counted(kept, 'program')} read from the cache"] if kept else []
        alongside = f"; {' and '.join(found)} concurrently, over {covered(programs):.0f} s of it"
        total = sum(self.seconds.values())
        return f"time: {stages}; {total:.0f} s in all{alongside if found else ''}"


def covered(programs: Sequence[Compilation]) -> float:
    """Return the seconds during which at least one program was compiled or read."""
    total, until = 0.0, float("-inf")
    for one in sorted(programs):
        total += max(one.end - max(one.start, until), 0.0)
        until = max(until, one.end)
    return total
