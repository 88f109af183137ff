"""How many padded widths a study has: few programs to compile, or little work on padding."""

from pathlib import Path

import numpy as np

from study.data.splits.one_split import Split
from study.search.command_line import parse, resolve_options
from study.search.plan import make_plan
from study.search.programs_needed import chosen_widths
from study.space.search_space import SearchSpace, load_space

SPLIT = Split(*(np.arange(size, dtype=np.int32) for size in (120, 160, 120)))  # the faces'
UNIT = 512 + 40  # features and classes of the faces
DEFAULT = load_space("default")


def chosen(*argv: str, kept: bool = False, space: SearchSpace = DEFAULT) -> tuple[int, ...]:
    plan = make_plan(resolve_options(parse(argv), {}, "default"), space)
    return chosen_widths(plan, space, SPLIT, UNIT, lambda _: kept)


def test_the_default_study_has_two_widths():
    assert chosen() == chosen(kept=True) == (256, 512)


def test_a_small_study_compiles_less_unless_more_is_kept():
    assert chosen("--repeats", "1") == (512,)
    assert chosen("--repeats", "1", kept=True) == (256, 512)


def test_more_work_is_worth_more_programs_but_their_memory_does_not_grow_with_the_study():
    counts = [len(chosen("--repeats", str(repeats))) for repeats in (1, 2, 3, 5, 12, 100)]
    assert counts == sorted(counts) and counts[0] == 1 and counts[-1] == 2


def test_a_narrow_head_is_not_padded_to_one_that_may_not_fit(tmp_path: Path):
    path = tmp_path / "space.toml"
    sgd = '[optimizers.sgd]\nclass = "SGD"\nlearning_rate = 0.1\n'
    for choices, widths in ("[64, 512]", (512,)), ("[16, 65536]", (16, 65536)):
        path.write_text(f"[head]\ndense_width = {{choices = {choices}}}\n{sgd}")
        assert chosen("--repeats", "1", space=load_space(str(path))) == widths
    path.write_text(f"[head]\ndense_width = {{min = 16, max = 4096}}\n{sgd}")
    assert len(chosen("--repeats", "1", space=load_space(str(path)))) == 2  # none is close enough


def test_of_one_width_there_is_nothing_to_choose():
    assert chosen("--repeats", "1", space=load_space("quick")) == (176,)
