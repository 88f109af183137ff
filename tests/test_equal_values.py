"""Values that cannot differ on the rows of a study are one value, and the records say which."""

from pathlib import Path

import pytest

from study.search.budget import Budget, plan_search
from study.search.oracles import Search
from study.space.equal_values import without_equal_values
from study.space.search_space import SearchSpace, load_space

ROWS = 120
SGD = '[optimizers.sgd]\nclass = "SGD"\nlearning_rate = 0.1\n'
GRID = Budget(tuner="grid", max_epochs=2, factor=3, trials=50)


def space_of(folder: Path, batch: str = "16", sgd: str = "") -> SearchSpace:
    path = folder / "odd.toml"
    path.write_text(f"[head]\nbatch_size = {batch}\n{SGD}{sgd}")
    return load_space(str(path))


def tried(space: SearchSpace, key: str) -> list[object]:
    """The values that a grid search trains, in its order."""
    search = Search(space, "sgd", GRID, seed=1)
    found: list[object] = []
    while wave := search.ask():
        for proposal in wave:
            found.append(proposal.config.hyperparameters()[key])
            search.tell(proposal.number, 0.5)
    assert len(found) == plan_search(space, "sgd", GRID)[1]
    return found


@pytest.mark.parametrize(
    ("batch", "values", "named"),
    [
        ('{choices = [120, 256, 1024, "full"]}', [120], "120, 256, 1024 and full"),
        ('{choices = [64, 256, "full"], default = 256}', [120, 64], "256 and full"),
        ("{choices = [16, 256]}", [16, 120], "256"),
        ("{min = 118, max = 512, default = 200}", [120, 118, 119], "above 120"),
        ("{min = 200, max = 512}", [120], "above 120"),
    ],
)
def test_batches_of_all_rows_are_tried_once_under_the_size_that_is_used(
    batch: str, values: list[object], named: str, tmp_path: Path
) -> None:
    written = space_of(tmp_path, batch)
    space, said = without_equal_values(written, ROWS)
    assert sorted(tried(space, "batch_size"), key=str) == sorted(values, key=str)
    assert space.default("sgd").batch_size == values[0]
    assert said == [f"batch_size {named} means all 120 training rows: tried once, as 120"]
    assert space.fingerprint != written.fingerprint  # an older study of it is not mixed with this


def test_nesterov_without_momentum_is_tried_once(tmp_path: Path) -> None:
    both = "nesterov = {choices = [true, false]}\n"
    space, said = without_equal_values(space_of(tmp_path, sgd=both), ROWS)
    assert tried(space, "nesterov") == [False] and len(said) == 1
    space, said = without_equal_values(space_of(tmp_path, sgd=both + "momentum = 0.9\n"), ROWS)
    assert set(tried(space, "nesterov")) == {True, False} and not said


@pytest.mark.parametrize("batch", ['"full"', "256", '{choices = [16, "full"]}', "{min=8, max=120}"])
def test_a_space_that_says_nothing_twice_stays_as_it_is(batch: str, tmp_path: Path) -> None:
    written = space_of(tmp_path, batch)
    space, said = without_equal_values(written, ROWS)
    assert space is written and not said
    assert without_equal_values(load_space("default"), ROWS) == (load_space("default"), [])
