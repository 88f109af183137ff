"""What a study is going to do, in numbers, before it does it."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from study.common.metrics import ACCURACY, WORDS
from study.common.text import counted
from study.data.splits.one_split import Split
from study.records.outcomes import BUDGETS
from study.search.budget import budget_of, hyperband_cost, plan_search, searches_of
from study.search.options import Options
from study.search.subject import Subject
from study.space.head_config import SINGLE_ROWS, normalizes_single_rows
from study.space.search_space import SearchSpace
from study.training.head import Statistics
from study.training.hypermodel import HeadHyperModel
from study.training.program_key import COMPILED, Signature, few_widths, signature_of
from study.verdicts.looks import AUTO, planned_looks


class PlannedSearch(NamedTuple):
    """One search of every repeat."""

    name: str  # see `searches_of`
    kind: str  # the method in force; a small space is searched by a grid
    trials: int
    epochs: int  # of training in all


class Plan(NamedTuple):
    """Everything a study will train."""

    searches: tuple[PlannedSearch, ...]  # of every repeat
    optimizers: tuple[str, ...]
    tunable: int  # of them, which have untuned runs, too
    looks: tuple[int, ...]  # repeats at which it is judged
    race: bool  # whether only those in question go on after the first look
    confirm: int  # reruns of a winner
    budgets: int  # at most so many reruns of what a search had found before its end, first look
    max_epochs: int

    def trials(self, repeats: Mapping[str, int]) -> dict[str, int]:
        """Search -> trials in so many repeats of each optimizer, rungs counted one by one."""
        return {one.name: one.trials * self._of(one, repeats) for one in self.searches}

    def epochs(self, repeats: Mapping[str, int]) -> int:
        """At most, of so many repeats of each optimizer."""
        searched = sum(one.epochs * self._of(one, repeats) for one in self.searches)
        reruns = self.confirm + self.tunable / max(len(self.optimizers), 1)
        early = self.budgets * sum(min(count, self.first) for count in repeats.values())
        return searched + round((reruns * sum(repeats.values()) + early) * self.max_epochs)

    def everybody(self, repeats: int) -> dict[str, int]:
        """So many repeats of each optimizer."""
        return dict.fromkeys(self.optimizers, repeats)

    @property
    def first(self) -> int:
        """Repeats until the study is judged first."""
        return self.looks[0 if self.race else -1]

    @property
    def runs(self) -> int:
        """Runs that TensorBoard shows if each trial is one: optimizers, report, all that trains."""
        last = self.looks[-1]
        trials = sum(self.trials(self.everybody(last)).values())
        reruns = last * (len(self.optimizers) * self.confirm + self.tunable)
        early = self.first * len(self.optimizers) * self.budgets
        return len(self.optimizers) + 1 + trials + reruns + early

    def _of(self, search: PlannedSearch, repeats: Mapping[str, int]) -> int:
        """How often a search runs; a joint one for whoever has the most repeats."""
        if search.name in self.optimizers:
            return repeats.get(search.name, 0)
        return max(repeats.values(), default=0)


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
    looks = planned_looks(options.repeats, options.most_repeats)
    return Plan(
        searches=tuple(searches),
        optimizers=tuple(space.optimizers),
        tunable=sum(space.points(name) > 1 for name in space.optimizers),
        looks=tuple(look.repeats for look in looks),
        race=options.repeats == AUTO,
        confirm=options.confirm,
        budgets=len(BUDGETS) if options.allocation == "equal" else 0,
        max_epochs=options.max_epochs,
    )


def plan_lines(
    plan: Plan,
    options: Options,
    space: SearchSpace,
    split: Split,
    widths: Sequence[int] | None = None,
) -> list[str]:
    """The plan in words; `widths` as `signatures_of` takes them."""
    kinds = {search.kind for search in plan.searches}
    per = sorted({(search.trials, search.epochs) for search in plan.searches})
    each = " or ".join(
        f"{counted(trials, 'trial')} ({counted(epochs, 'epoch')})" for trials, epochs in per
    )
    times = counted(len(plan.searches), f"{' and '.join(sorted(kinds))} search")
    lines = [
        f"plan: a repeat has {times} of {each} each, {counted(plan.confirm, 'rerun')} of "
        f"each winner and {counted(plan.tunable, 'untuned run')}",
        _looks(plan),
    ]
    if len(plan.optimizers) > 1:
        lines.append(
            f"plan: who is at most {counted(options.margin, 'point')} behind the best "
            "is good enough (--margin)"
        )
    if options.metric != ACCURACY:
        lines.append(f"plan: validation {WORDS[options.metric]} decides (--metric)")
    if options.views > 1:
        lines.append(
            f"plan: each epoch trains on one of {options.views} views of each image (--views), "
            "which are kept like features; validation and test see the image itself"
        )
    for search in plan.searches:
        if search.kind != options.tuner:
            lines.append(
                f"plan: {search.name} has too few configurations for {options.tuner}: "
                f"a {search.kind} search of {search.trials} instead"
            )
    programs = len(signatures_of(space, split, widths))
    if "hyperband" in kinds and options.max_epochs < options.factor:
        epochs = counted(options.max_epochs, "epoch")
        lines.append(
            f"plan: hyperband has nothing to halve in {epochs}, so no "
            f"trial is stopped early; --max-epochs {options.factor} or more, or --tuner random"
        )
    if normalizes_single_rows(space.table.get("head", {})):
        lines.append(f"warning: the search space has {SINGLE_ROWS}")
    lines.append(f"plan: at most {counted(programs, 'program')} to compile, about 2 s each")
    return lines


def _looks(plan: Plan) -> str:
    first = plan.epochs(plan.everybody(plan.first))
    repeats = counted(plan.first, "repeat")
    if not plan.race or len(plan.optimizers) < 2:
        return f"plan: {repeats}, then one look; {first:,} epochs in all"
    if len(plan.looks) == 1:
        return f"plan: a look after {repeats}; {first:,} epochs in all"
    later = ", ".join(map(str, plan.looks[1:]))
    most = plan.epochs(plan.everybody(plan.looks[-1]))
    return (
        f"plan: first look after {repeats}, {first:,} epochs; unless the answer is known, who is "
        f"still in question goes on to looks at {later}: at most {most:,} epochs in all"
    )


def signatures_of(
    space: SearchSpace, split: Split, widths: Sequence[int] | None = None
) -> set[Signature]:
    """Of the programs that the heads of this space need; those of rungs and reruns are the same.

    Args:
        space: the search space.
        split: of any repeat; all have the same sizes.
        widths: to which dense layers are padded; None: the usual ones.
    """
    widths = widths or few_widths(space.dense_widths())
    parts = {key: domain.choices or widths for key, domain in space.head.items() if key in COMPILED}
    found = set()
    for name in space.optimizers:
        config = space.default(name)
        for values in itertools.product(*parts.values()):
            shaped: Any = dict(zip(parts, values, strict=True))
            head = replace(config, **shaped)
            found.add(signature_of(head, len(split.train), len(split.validation), widths))
    return found


def model_summary(space: SearchSpace, subject: Subject, split: Split, max_epochs: int) -> str:
    """Return the untuned model from what a user has to probabilities, with its parameter counts."""
    count = subject.n_features
    head = HeadHyperModel(
        space,
        n_features=count,
        n_classes=len(subject.examples.class_names),
        n_train=len(split.train),
        max_epochs=max_epochs,
        seed=1,
        statistics=Statistics(np.zeros(count), np.ones(count)),
    ).build_config(space.default(next(iter(space.optimizers))))
    lines: list[str] = []
    for model in dict.fromkeys((subject.whole(head), head)):  # one where that is the head
        model.summary(print_fn=lines.append)
    return "\n".join(lines)
