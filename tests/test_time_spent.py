"""The line that says where the time of a search went."""

import re
import time

import pytest

from study.search.time_spent import TimeSpent, covered
from study.training.program_cache import Compilation


def test_the_stages_follow_each_other_and_add_up():
    spent = TimeSpent()
    start = time.monotonic()
    for stage in ("starting", "features"):
        time.sleep(0.02)
        spent.ended(stage)
    assert all(seconds >= 0.02 for seconds in spent.seconds.values())
    assert sum(spent.seconds.values()) == pytest.approx(time.monotonic() - start, abs=0.02)
    assert re.fullmatch(r"time: 0 s starting, 0 s features; 0 s in all", spent.line([]))


def test_programs_are_listed_after_the_stages_and_not_among_them():
    programs = [Compilation(0.0, 4.0, False), Compilation(1.0, 3.0, False)]
    programs += [Compilation(3.5, 6.0, True), Compilation(10.0, 11.0, False)]
    assert covered(programs) == 7.0  # what is side by side counts once
    words = TimeSpent().line(programs).removeprefix("time: ; 0 s in all; ")
    made = "3 programs compiled and 1 program read from the cache"
    assert words == f"{made} concurrently, over 7 s of it"
    words = TimeSpent().line(programs[2:3])
    assert "; 1 program read from the cache concurrently, over 2 s" in words
