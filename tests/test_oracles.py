"""Keras Tuner's oracles in memory: budgets, waves, rungs, small spaces, seeds."""

import dataclasses
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from study.common.seeds import derive_seed
from study.search.budget import Budget, hyperband_cost, hyperband_rungs, plan_search
from study.search.options import OPTIONS
from study.search.oracles import Proposal, Search
from study.space.search_space import SearchSpace, load_space

Score = Callable[[Proposal], float]


def by_rate(proposal: Proposal) -> float:
    """Best at a learning rate of 1e-2, no two alike."""
    distance = abs(math.log10(proposal.config.learning_rate) + 2)
    return round(1 / (1 + distance) + 1e-6 * (hash(proposal.config.learning_rate) % 1000), 9)


def waves(search: Search, score: Score = by_rate) -> list[list[Proposal]]:
    """Ask and tell until the search has ended."""
    found = []
    while wave := search.ask():
        found.append(wave)
        for proposal in wave:
            search.tell(proposal.number, score(proposal))
        assert len(found) < 2000
    assert search.ask() == []
    return found


def trials(search: Search, score: Score = by_rate) -> list[Proposal]:
    return [proposal for wave in waves(search, score) for proposal in wave]


def make(optimizer: str | None = "adam", *, seed: int = 1, **budget: object) -> Search:
    values = Budget(tuner="hyperband", max_epochs=30, factor=3, trials=20)._replace(**budget)
    return Search(load_space("default"), optimizer, values, seed=seed)


def space_of(folder: Path, text: str) -> SearchSpace:
    path = folder / "small.toml"
    path.write_text(text)
    return load_space(str(path))


# ---- what a search costs ----


@pytest.mark.parametrize(
    ("max_epochs", "count", "epochs"), [(30, 90, 576), (10, 30, 120), (100, 254, 2672)]
)
def test_hyperband_costs_what_keras_tuner_would_spend(max_epochs: int, count: int, epochs: int):
    assert hyperband_cost(max_epochs, 3) == (count, epochs)
    found = trials(make(max_epochs=max_epochs))
    assert len(found) == count
    assert sum(proposal.epochs - proposal.initial_epoch for proposal in found) == epochs


@pytest.mark.parametrize(("max_epochs", "factor"), [(1, 3), (2, 3), (3, 2), (7, 2), (16, 4)])
def test_any_hyperband_spends_what_its_plan_says(max_epochs: int, factor: int):
    found = trials(make(max_epochs=max_epochs, factor=factor))
    spent = sum(proposal.epochs - proposal.initial_epoch for proposal in found)
    assert (len(found), spent) == hyperband_cost(max_epochs, factor)
    assert max(proposal.epochs for proposal in found) == max_epochs


@pytest.mark.parametrize("tuner", ["random", "bayesian"])
def test_the_others_train_every_trial_in_full(tuner: str):
    found = trials(make(tuner=tuner, trials=12, max_epochs=5))
    assert [proposal.epochs for proposal in found] == [5] * 12
    assert {proposal.initial_epoch for proposal in found} == {0}
    assert all(proposal.continues is None and proposal.bracket is None for proposal in found)


# ---- waves ----


def test_hyperband_is_asked_in_few_large_waves():
    sizes = [len(wave) for wave in waves(make())]
    assert sum(sizes) == 90
    first_rungs = sum(size for _, rung, size, _ in hyperband_rungs(30, 3) if rung == 0)
    assert sizes[0] == first_rungs
    assert len(sizes) == 4  # as many as the deepest bracket has rungs


def test_random_is_one_wave_and_bayesian_begins_with_one():
    assert [len(wave) for wave in waves(make(tuner="random", trials=15))] == [15]
    assert [len(wave) for wave in waves(make(tuner="bayesian", trials=12))] == [8, 1, 1, 1, 1]


def test_results_may_come_in_any_order():
    rng = np.random.default_rng(3)
    search, ordered = make(), trials(make())
    found = []
    while wave := search.ask():
        found += wave
        for index in rng.permutation(len(wave)):
            search.tell(wave[index].number, by_rate(wave[index]))
    assert {p.number: p.config for p in found} == {p.number: p.config for p in ordered}


# ---- rungs ----


def test_a_promoted_trial_continues_its_own_run():
    found = {proposal.number: proposal for proposal in trials(make())}
    promoted = [proposal for proposal in found.values() if proposal.continues]
    assert len(promoted) > 20
    for proposal in promoted:
        before = found[proposal.continues or ""]
        assert proposal.config == before.config
        assert proposal.root == before.root
        assert proposal.initial_epoch == before.epochs < proposal.epochs
        assert (proposal.bracket, proposal.rung) == (before.bracket, (before.rung or 0) + 1)
        root = found[proposal.root]
        assert root.rung == 0 and root.continues is None and root.root == root.number


def test_brackets_and_rounds_have_the_sizes_of_the_plan():
    found = Counter((p.bracket, p.rung, p.epochs) for p in trials(make()))
    planned = {(b, r, until): size for b, r, size, until in hyperband_rungs(30, 3)}
    assert found == planned


def test_the_best_of_each_rung_are_promoted():
    found = trials(make())
    for bracket, rung, size, _ in hyperband_rungs(30, 3):
        below = [p for p in found if (p.bracket, p.rung) == (bracket, rung - 1)]
        if rung == 0 or not below:
            continue
        best = sorted(below, key=by_rate, reverse=True)[:size]
        promoted = {p.continues for p in found if (p.bracket, p.rung) == (bracket, rung)}
        assert promoted == {p.number for p in best}


@pytest.mark.parametrize("share", [0.5, 0.95, 1.0])
def test_diverged_trials_at_chance_never_cost_a_promotion(share: float):
    rng = np.random.default_rng(5)
    lost: dict[str, bool] = {}

    def score(proposal: Proposal) -> float:
        bad = lost.setdefault(proposal.root, bool(rng.random() < share))
        return 0.025 if bad else by_rate(proposal)

    found = trials(make(), score)
    assert len(found) == 90
    for bracket, rung, size, _ in hyperband_rungs(30, 3):
        here = [p for p in found if (p.bracket, p.rung) == (bracket, rung)]
        below = [p for p in found if (p.bracket, p.rung) == (bracket, rung - 1)]
        assert len(here) == size
        healthy = [p for p in here if not lost[p.root]]
        if rung:  # a diverged one is promoted only where healthy ones do not fill the rung
            assert len(healthy) == min(size, sum(not lost[p.root] for p in below))


# ---- seeds ----


@pytest.mark.parametrize("tuner", OPTIONS["tuner"].rule.choices)
def test_the_same_seed_and_scores_give_the_same_proposals(tuner: str):
    runs = [trials(make(tuner=tuner, trials=11, max_epochs=9, seed=7)) for _ in range(2)]
    assert runs[0] == runs[1]


@pytest.mark.parametrize("tuner", ["hyperband", "random", "bayesian"])
def test_another_seed_gives_other_proposals(tuner: str):
    a, b = (trials(make(tuner=tuner, trials=11, max_epochs=9, seed=seed)) for seed in (1, 1000))
    assert not {p.config.learning_rate for p in a} & {p.config.learning_rate for p in b}


def test_a_search_that_was_replayed_goes_on_as_if_it_had_never_stopped():
    whole = make(tuner="bayesian", trials=14)
    ordered = trials(whole)
    again = make(tuner="bayesian", trials=14)
    replayed = []
    while len(replayed) < 10:
        for proposal in again.ask():
            replayed.append(proposal)
            again.tell(proposal.number, by_rate(proposal))
    assert replayed + trials(again) == ordered


def test_optimizers_of_a_repeat_share_the_seed_and_so_the_head_draws():
    """Paired: what does not belong to an optimizer is drawn alike for all."""
    adam, nadam = (make(name, tuner="random", trials=10).ask() for name in ("adam", "nadam"))
    pairs = zip(adam, nadam, strict=True)
    assert all(a.config.dense_width == b.config.dense_width for a, b in pairs)


def test_named_streams_differ_and_are_never_zero():
    seeds = {
        derive_seed(seed, *names)
        for seed in (1, 2)
        for names in ([], ["a"], ["a", 0], ["a", 1], ["b", 0])
    }
    assert len(seeds) == 10
    assert all(1 <= seed < 2**31 for seed in seeds)
    assert derive_seed(1, "a", 0) == derive_seed(1, "a", 0)


# ---- small and odd spaces ----

ONE = '[optimizers.sgd]\nclass = "SGD"\nlearning_rate = 0.1\n'
THREE = '[optimizers.sgd]\nclass = "SGD"\nlearning_rate = {choices = [0.1, 0.2, 0.3]}\n'
FORTY = (
    "[head]\ndense_width = {choices = [8, 16, 32, 64]}\n"
    '[optimizers.sgd]\nclass = "SGD"\n'
    f"learning_rate = {{choices = {[round(0.1 * i, 1) for i in range(1, 11)]}}}\n"
)
WHOLE = "[head]\ndense_width = {min = 1, max = 5}\n" + ONE
SCHEDULED = (
    "[schedules.constant]\n[schedules.cosine]\nfinal_factor = {choices = [0.1, 0.2]}\n" + THREE
)


@pytest.mark.parametrize("tuner", OPTIONS["tuner"].rule.choices)
@pytest.mark.parametrize(
    ("text", "points"), [(ONE, 1), (THREE, 3), (WHOLE, 5), (SCHEDULED, 9), (FORTY, 40)]
)
@pytest.mark.parametrize("optimizer", ["sgd", None])
def test_a_small_space_is_searched_without_training_anything_twice(
    tuner: str, text: str, points: int, optimizer: str | None, tmp_path: Path
):
    space = space_of(tmp_path, text)
    search = Search(space, optimizer, Budget(tuner, 30, 3, 20), seed=1)
    found = trials(search)
    roots = [str(proposal.config) for proposal in found if proposal.rung in (None, 0)]
    assert len(roots) == len(set(roots))
    assert 1 <= len(roots) <= points
    if points <= 19:
        assert len(roots) == points
    assert (search.kind, len(found)) == plan_search(space, optimizer, search.budget)


@pytest.mark.parametrize(("tuner", "count"), [("random", 20), ("bayesian", 20), ("hyperband", 90)])
def test_a_space_that_is_just_large_enough_is_searched_in_full(
    tuner: str, count: int, tmp_path: Path
):
    """Keras Tuner's own draws would give up after 20 repetitions."""
    first_rungs = sum(size for _, rung, size, _ in hyperband_rungs(30, 3) if rung == 0)
    points = first_rungs if tuner == "hyperband" else 21
    rates = [round(0.01 * i, 2) for i in range(1, points + 1)]
    space = space_of(tmp_path, THREE.replace("[0.1, 0.2, 0.3]", str(rates)))
    search = Search(space, "sgd", Budget(tuner, 30, 3, 20), seed=1)
    found = trials(search)
    assert (search.kind, len(found)) == (tuner, count)
    assert len({str(p.config) for p in found}) == len([p for p in found if not p.continues])


def test_bayesian_proposals_close_in_on_the_best_rate():
    found = trials(make(tuner="bayesian", trials=16))
    scores = [by_rate(proposal) for proposal in found]
    assert np.mean(scores[8:]) > np.mean(scores[:8])
    assert max(scores) > 0.8


def test_a_grid_visits_every_point_once(tmp_path: Path):
    text = FORTY + "momentum = {choices = [0.0, 0.9]}\nnesterov = {choices = [false, true]}\n"
    search = Search(space_of(tmp_path, text), "sgd", Budget("grid", 5, 3, 1000), seed=1)
    found = trials(search)
    assert len(found) == len({str(proposal.config) for proposal in found}) == 160
    assert {p.config.optimizer_hyperparameters["nesterov"] for p in found} == {False, True}


def test_a_grid_takes_ten_values_and_the_default_from_a_range(tmp_path: Path):
    rate = '{min = 1e-5, max = 0.1, scale = "log"}'
    text = f'[optimizers.adam]\nclass = "Adam"\nlearning_rate = {rate}'
    search = Search(space_of(tmp_path, text), "adam", Budget("grid", 5, 3, 1000), seed=1)
    rates = [proposal.config.learning_rate for proposal in trials(search)]
    assert len(rates) == len(set(rates)) == search.planned
    assert 1e-5 <= min(rates) < 2e-5 and 0.05 < max(rates) <= 0.1


def test_a_grid_is_cut_at_the_trials_that_were_asked_for():
    assert len(trials(make(tuner="grid", trials=17))) == 17


def test_a_joint_search_proposes_several_optimizers_and_spends_one_budget():
    found = trials(make(None))
    assert len(found) == 90
    assert len({proposal.config.optimizer for proposal in found}) > 6
    best = max(found, key=lambda p: (p.epochs, by_rate(p)))
    assert best.epochs == 30


def test_a_grid_over_all_optimizers_visits_each(tmp_path: Path):
    text = THREE + '[optimizers.adam]\nclass = "Adam"\nlearning_rate = {choices = [0.1, 0.2]}\n'
    search = Search(space_of(tmp_path, text), None, Budget("grid", 5, 3, 100), seed=1)
    found = [(p.config.optimizer, p.config.learning_rate) for p in trials(search)]
    expected = [("sgd", 0.1), ("sgd", 0.2), ("sgd", 0.3), ("adam", 0.1), ("adam", 0.2)]
    assert sorted(found) == sorted(expected)


def test_proposals_say_everything_that_training_needs():
    proposal = make().ask()[0]
    assert dataclasses.is_dataclass(proposal.config)
    assert proposal.number == proposal.root and proposal.epochs >= 1
