"""What a study is going to do, in numbers, before it does it."""

import itertools
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from study.features.vgg16 import FEATURES, Backbone
from study.images.splits import Split
from study.search.budget import budget_of, hyperband_cost, plan_search, searches_of
from study.search.options import Options
from study.space.space import SearchSpace
from study.training.head import Statistics, build_head, whole_model
from study.training.program_key import COMPILED, few_widths, signature_of


class PlannedSearch(NamedTuple):
    """One search of every repeat."""

    name: str  # see `searches_of`
    kind: str  # the method in force; a small space is searched by a grid
    trials: int
    epochs: int  # of training in all


class Plan(NamedTuple):
    """Everything a study will train."""

    searches: tuple[PlannedSearch, ...]
    repeats: int
    default_runs: int
    confirm_runs: int
    rerun_epochs: int  # at most, of the default and confirmation runs

    @property
    def trials(self) -> int:
        """Search trials over all repeats, rungs counted one by one."""
        return self.repeats * sum(search.trials for search in self.searches)

    @property
    def epochs(self) -> int:
        """Epochs of everything."""
        return self.repeats * sum(search.epochs for search in self.searches) + self.rerun_epochs


def make_plan(options: Options, space: SearchSpace) -> Plan:
    """Count searches, trials and epochs."""
    budget = budget_of(options)
    searches = []
    for name, optimizer in searches_of(options, space).items():
        kind, trials = plan_search(space, optimizer, budget)
        epochs = trials * options.max_epochs
        if kind == "hyperband":
            epochs = hyperband_cost(options.max_epochs, options.factor)[1]
        searches.append(PlannedSearch(name, kind, trials, epochs))
    tunable = [name for name in space.optimizers if space.points(name) > 1]
    default_runs = len(tunable) * options.repeats
    confirm_runs = len(space.optimizers) * options.repeats * options.confirm
    reruns = (default_runs + confirm_runs) * options.max_epochs
    return Plan(tuple(searches), options.repeats, default_runs, confirm_runs, reruns)


def plan_lines(plan: Plan, options: Options, space: SearchSpace, split: Split) -> list[str]:
    """The plan in words."""
    kinds = {search.kind for search in plan.searches}
    per = sorted({(search.trials, search.epochs) for search in plan.searches})
    each = " or ".join(f"{trials} trial{_s(trials)} ({epochs} epochs)" for trials, epochs in per)
    times = f"{len(plan.searches)} {' and '.join(sorted(kinds))} search{_es(len(plan.searches))}"
    lines = [
        f"plan: {times} of {each} each, {plan.repeats} repeat{_s(plan.repeats)}; "
        f"{plan.confirm_runs} confirmation run{_s(plan.confirm_runs)}, "
        f"{plan.default_runs} untuned run{_s(plan.default_runs)}; {plan.epochs:,} epochs in all"
    ]
    for search in plan.searches:
        if search.kind != options.tuner:
            lines.append(
                f"plan: {search.name} has too few configurations for {options.tuner}: "
                f"a {search.kind} search of {search.trials} instead"
            )
    programs = count_programs(space, split)
    lines.append(f"plan: at most {programs} program{_s(programs)} to compile, about 2 s each")
    fuller = make_plan(_fuller(options), space)
    if fuller.epochs > plan.epochs:
        lines.append(
            f"plan: a fuller study (--max-epochs {_fuller(options).max_epochs} "
            f"--repeats {_fuller(options).repeats}) would train {fuller.epochs:,} epochs, "
            f"{fuller.epochs / plan.epochs:.1f} times as many"
        )
    return lines


def count_programs(space: SearchSpace, split: Split) -> int:
    """How many programs the heads of this space need; those of rungs and reruns are the same."""
    widths = few_widths(space.dense_widths())
    parts = {key: domain.choices or widths for key, domain in space.head.items() if key in COMPILED}
    found = set()
    for name in space.optimizers:
        config = space.default(name)
        for values in itertools.product(*parts.values()):
            shaped: Any = dict(zip(parts, values, strict=True))
            head = replace(config, **shaped)
            found.add(signature_of(head, len(split.train), len(split.validation), widths))
    return len(found)


def model_summary(space: SearchSpace, backbone: Backbone, n_classes: int) -> str:
    """The untuned model from pixels to probabilities, with its parameter counts."""
    name = next(iter(space.optimizers))
    config = space.default(name)
    statistics = Statistics(np.zeros(FEATURES), np.ones(FEATURES))
    head = build_head(
        config, n_features=FEATURES, n_classes=n_classes, seed=1, statistics=statistics
    )
    lines: list[str] = []
    whole_model(backbone.model, head).summary(print_fn=lines.append)
    head.summary(print_fn=lines.append)
    return "\n".join(lines)


def _fuller(options: Options) -> Options:
    return replace(
        options,
        max_epochs=max(options.max_epochs, 100),
        repeats=max(options.repeats, 10),
    )


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _es(count: int) -> str:
    return "" if count == 1 else "es"
