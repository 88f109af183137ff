"""A finished study goes on: more trials, another optimizer; its records are a whole one's."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from study.records.study_meta import load_meta
from study.records.trial_record import Phase, TrialRecord
from study.records.trials_file import load_trials
from study.search import main
from study.search.budget import Budget
from study.search.oracles import Search
from study.space.search_space import load_space

SPACE = """
[head]
dense_width = 8
[optimizers.adam]
class = "Adam"
learning_rate = {min = 1e-4, max = 1e-1, scale = "log"}
[optimizers.sgd]
class = "SGD"
learning_rate = {min = 1e-3, max = 1.0, scale = "log"}
"""
LION = """
[optimizers.lion]
class = "Lion"
learning_rate = {min = 1e-5, max = 1e-2, scale = "log"}
"""


@pytest.fixture(scope="module")
def run(
    picture_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., dict[str, TrialRecord]]:
    """Runs a study of this name, space and number of trials; returns its records."""
    top = tmp_path_factory.mktemp("going on")

    def search(name: str, space: str, trials: int) -> dict[str, TrialRecord]:
        file = top / "space.toml"
        file.write_text(space)
        arguments = ["--data", picture_folder, "--space", file, "--trials", trials, "--name", name]
        arguments += ["--logs", top, "--cache-dir", top / "cache", "--image-size", 32]
        arguments += ["--weights", "random", "--tuner", "random", "--max-epochs", 2]
        arguments += ["--repeats", 1, "--confirm", 2]
        assert main([str(argument) for argument in arguments]) == 0
        assert load_meta(top / name).finished
        return {r.trial_id: replace(r, seconds=0.0) for r in load_trials(top / name)}

    return search


@pytest.mark.slow  # half a minute; each by itself: test_study_folder.py, test_protocol.py
def test_more_trials_and_another_optimizer_end_in_the_records_of_a_whole_study(
    run: Callable[..., dict[str, TrialRecord]],
) -> None:
    short = run("grown", SPACE, 2)
    longer = run("grown", SPACE, 5)
    searched = {name for name, record in short.items() if record.phase is Phase.SEARCH}
    assert {name: longer[name] for name in searched} == {name: short[name] for name in searched}
    assert sum(record.phase is Phase.SEARCH for record in longer.values()) == 10
    added = run("grown", SPACE + LION, 5)
    assert added.items() > longer.items()
    assert {record.optimizer for record in added.values()} == {"adam", "sgd", "lion"}
    assert added == run("whole", SPACE + LION, 5)


@pytest.mark.parametrize("tuner", ["random", "grid", "bayesian"])
def test_the_first_trials_of_a_longer_search_are_those_of_the_shorter_one(tuner: str) -> None:
    def proposed(trials: int) -> list[str]:
        budget = Budget(tuner, max_epochs=3, factor=3, trials=trials)
        search = Search(load_space("quick"), "adam", budget, seed=3)
        found = []
        while batch := search.ask():
            for one in batch:
                found.append(str(one.config))
                search.tell(one.number, one.config.learning_rate % 1e-3)
        return found

    short, long = proposed(9), proposed(11)
    assert len(short) == 9 and len(long) == 11 and len(set(long)) == 11
    assert long[:9] == short
