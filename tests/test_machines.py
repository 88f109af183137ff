"""This process as the machines of a study, and what the search may know of the other kind."""

from pathlib import Path

import numpy as np

from study.common.metrics import ACCURACY
from study.machines.here import Here
from study.machines.machines import TrainerOrder
from study.machines.opened import opened
from study.space.search_space import load_space
from study.training.population import CPU_HEADS
from study.training.program_key import ProgramShape, few_widths, signature_of
from study.training.rounding import rounding_digest
from study.training.runs import HeadRun, TrainingRules, TrainingTable

ROWS = np.arange(36, dtype=np.int32)
FIRST = ROWS[:24], ROWS[24:]
SPACE = load_space("quick").restrict(["adam"])
RULES = TrainingRules(1, few_widths(SPACE.dense_widths()), (), ACCURACY)
SHAPE = (36, 8)
TABLE = TrainingTable(np.random.default_rng(1).random(SHAPE, np.float32), ROWS % 3, 3)


def test_without_an_address_this_process_works_and_nothing_is_said_of_workers() -> None:
    with opened(None, "cpu", None) as machines:
        machines.choose({})
        assert machines.device.kind == "cpu"
        assert machines.words() == ""
        assert machines.rounding == rounding_digest()
        names = machines.map_files(lambda path: path.name, [Path("b"), Path("a")])
        assert list(names) == ["b", "a"]


def test_a_program_is_compiled_once_ahead_or_when_it_is_needed() -> None:
    config, here = SPACE.default("adam"), Here("cpu")
    certain = [(signature_of(config, *map(len, FIRST), RULES.widths), config)]
    with here.ahead(ProgramShape(SHAPE, 3, 2), certain):
        pass  # what it was at is finished beside the training
    trainer = here.trainer(TrainerOrder(TABLE, RULES, SPACE, FIRST, 2))
    list(trainer.train([HeadRun(config, *FIRST, seed=1, epochs=1)]))
    assert trainer.compilations == len(trainer.compiled_here) == 1


def test_where_nobody_says_how_many_heads_train_at_once_it_is_found_out() -> None:
    here = Here("cpu")
    with here.ahead(None, []):
        pass
    assert here.trainer(TrainerOrder(TABLE, RULES, SPACE, FIRST, None)).size == CPU_HEADS
