"""The line that says where the time of a search went."""

import re
import time

import pytest

from study.search.time_spent import TimeSpent, covered
from study.training.program_cache import Compilation


def test_the_stages_follow_each_other_and_add_up():
    spent = TimeSpent()
    parts = []
    for stage in ("starting", "features"):
        time.sleep(0.02)
        parts.append(spent.ended(stage))
    assert all(part >= 0.02 for part in parts)
    assert sum(parts) == pytest.approx(spent.total)
    assert re.fullmatch(r"time: 0 s starting, 0 s features; 0 s in all", spent.line([]))


def test_programs_stand_beside_the_stages_and_not_among_them():
    programs = [Compilation(0.0, 4.0, False), Compilation(1.0, 3.0, False)]
    programs += [Compilation(3.5, 6.0, True), Compilation(10.0, 11.0, False)]
    assert covered(programs) == 7.0  # what is side by side counts once
    words = TimeSpent().line(programs).removeprefix("time: ; 0 s in all; ")
    made = "3 programs compiled and 1 program read from the cache"
    assert words == f"{made} beside the rest during 7 s of it"
    assert "; 1 program read from the cache beside the rest during 2 s" in TimeSpent().line(
        programs[2:3]
    )
