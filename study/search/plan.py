"""What a study is going to do: counted from its options and search space, then put into words."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from study.common.errors import UserError
from study.common.metrics import ACCURACY, WORDS
from study.common.text import counted, first_few, join, near, some
from study.data.splits.one_split import Split
from study.records.outcomes import BUDGETS
from study.records.study_meta import StudyMeta, asked_about
from study.report.analysis.conclusion import verdicts_on
from study.search.budget import budget_of, hyperband_cost, hyperband_rungs, plan_search, searches_of
from study.search.expected_time import Expected, in_words
from study.search.options import Options
from study.search.subject import Subject
from study.space.head_config import SINGLE_ROWS, normalizes_single_rows
from study.space.search_space import SearchSpace
from study.training.head import Statistics
from study.training.hypermodel import HeadHyperModel
from study.training.program_key import COMPILED, Signature, signature_of
from study.verdicts.looks import AUTO, planned_looks

NAMED = 20  # optimizers in the plan


class PlannedSearch(NamedTuple):
    """One search of every repeat."""

    name: str  # see `searches_of`
    kind: str  # method in force; a small space is searched by a grid
    trials: int
    epochs: int  # of training in all


class Plan(NamedTuple):
    """Everything that a study will train."""

    searches: tuple[PlannedSearch, ...]  # of every repeat
    optimizers: tuple[str, ...]
    tunable: int  # number of optimizers that can be tuned, which also get default runs
    looks: tuple[int, ...]  # repeats at which the study is judged
    race: bool  # whether only optimizers still in the race go on after the first look
    confirm: int  # confirmation runs of a winner
    budgets: int  # most budget runs of a search, until the first look
    max_epochs: int

    def trials(self, repeats: Mapping[str, int]) -> dict[str, int]:
        """Return the trials of each search, every rung counted, for repeats of each optimizer."""
        return {one.name: one.trials * self._of(one, repeats) for one in self.searches}

    def epochs(self, repeats: Mapping[str, int]) -> int:
        """Return the most epochs that these repeats of each optimizer take."""
        searched = sum(one.epochs * self._of(one, repeats) for one in self.searches)
        runs = self.confirm + self.tunable / max(len(self.optimizers), 1)
        early = self.budgets * sum(min(count, self.first) for count in repeats.values())
        return searched + round((runs * sum(repeats.values()) + early) * self.max_epochs)

    def equal_repeats(self, repeats: int) -> dict[str, int]:
        """Return this number of repeats for each optimizer."""
        return dict.fromkeys(self.optimizers, repeats)

    @property
    def first(self) -> int:
        """Repeats until the study is judged for the first time."""
        return self.looks[0 if self.race else -1]

    @property
    def ends(self) -> tuple[int, int]:
        """Repeats after which the study may end, at the earliest and at the latest."""
        return self.first, self.looks[-1] if len(self.optimizers) > 1 else self.first

    @property
    def runs(self) -> int:
        """Runs in TensorBoard if each trial is one: optimizers, report, everything trained."""
        last, count = self.looks[-1], len(self.optimizers)
        trials = sum(self.trials(self.equal_repeats(last)).values())
        confirmed = last * (count * self.confirm + self.tunable)
        return count + 1 + trials + confirmed + self.first * count * self.budgets

    def _of(self, search: PlannedSearch, repeats: Mapping[str, int]) -> int:
        """Return the repeats of a search; a joint one has as many as any optimizer."""
        if search.name in self.optimizers:
            return repeats.get(search.name, 0)
        return max(repeats.values(), default=0)


def check_asked(ask: str, space: SearchSpace) -> None:
    """Refuse a question about an optimizer that is not in the search space."""
    names = list(space.optimizers)
    for name in asked_about(ask, names):
        if name not in names:
            raise UserError(
                f"`ask`: {name!r} is not an optimizer of this study{near(name, names)}; "
                f"valid: best, all, or names out of {', '.join(names)}"
            )


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
    widths: Sequence[int],
    expected: Expected | None = None,
) -> list[str]:
    """Return the plan in words, line by line; see `signatures_of` for `split` and `widths`."""
    lines = [f"plan: {text}" for text in (optimizers_line(plan), *_sentences(plan, options))]
    if normalizes_single_rows(space.table.get("head", {})):
        lines.append(f"warning: the search space has {SINGLE_ROWS}")
    if wide := space.linear_decades():
        lines.append(
            f"warning: without `scale` nearly all values of {first_few(wide, 3)} are drawn from "
            'the uppermost decade: add scale = "log" (or "linear", if that is meant)'
        )
    programs = counted(len(signatures_of(space, split, widths)), "program")
    lines.append(f"plan: at most {programs} to compile")
    if expected:
        lines[-1] += f", {in_words(expected.compiling)} in all"
        lines.append(f"plan: training takes about {_training(plan, expected)} on this machine")
    return lines


def optimizers_line(plan: Plan) -> str:
    """Return the names of the optimizers, or of the first of very many."""
    names = plan.optimizers
    return f"{counted(len(names), 'optimizer')}: {join(names, most=NAMED)}"


def _training(plan: Plan, expected: Expected) -> str:
    first, most = (expected.words(plan.epochs(plan.equal_repeats(n))) for n in plan.ends)
    return first if first == most else f"{first} until the first look, at most {most} in all,"


def question_lines(plan: Plan, meta: StudyMeta) -> list[str]:
    """Return which verdicts the race continues for; none where an optimizer to use is enough."""
    lines = []
    own = [name for name in meta.code if name not in meta.asked]
    if plan.race and meta.asked:
        lines.append(f"plan: the race continues until {verdicts_on(meta.asked)} known")
    if plan.race and own:
        lines.append(f"plan: the race also continues until {verdicts_on(own)} known")
    return lines


def _sentences(plan: Plan, options: Options) -> Iterator[str]:
    kinds = sorted({search.kind for search in plan.searches})
    rungs = hyperband_rungs(options.max_epochs, options.factor)
    trials = sum(count for _, rung, count, _ in rungs if not rung)
    sizes = sorted({(one.kind == "hyperband", one.trials, one.epochs) for one in plan.searches})
    each = (
        f"{counted(trials, 'trial')} ({counted(runs, 'run')}, {counted(epochs, 'epoch')})"
        if in_rungs and runs > trials
        else f"{counted(runs, 'trial')} ({counted(epochs, 'epoch')})"
        for in_rungs, runs, epochs in sizes
    )
    searches = counted(len(plan.searches), f"{' and '.join(kinds)} search")
    early = f" and {counted(plan.budgets, 'budget run')}" if plan.budgets else ""
    yield (
        f"a repeat has {searches} of {' or '.join(each)} each, "
        f"{counted(plan.confirm, 'confirmation run')}{early} per winner and "
        f"{counted(plan.tunable, 'default run')}"
    )
    yield _looks(plan)
    if len(plan.optimizers) > 1:
        margin = counted(options.margin, "point")
        yield f"an optimizer at most {margin} behind the best is good enough (--margin)"
    if options.metric != ACCURACY:
        yield f"validation {WORDS[options.metric]} decides (--metric)"
    if options.views > 1:
        yield (
            f"each epoch trains on one of {options.views} views of each image (--views), which "
            "are cached like features; validation and test use the image itself"
        )
    smaller: dict[str, list[str]] = {}
    for search in plan.searches:
        if search.kind != options.tuner:
            other = f"a {search.kind} search of {search.trials} instead"
            smaller.setdefault(other, []).append(search.name)
    for other, names in smaller.items():
        have = "has" if len(names) == 1 else "have"
        few = f"{some(names, 'optimizer')} {have} too few configurations for {options.tuner}"
        yield f"{few}: {other}"
    if "hyperband" in kinds and options.max_epochs < options.factor:
        yield (
            f"hyperband cannot stop trials early within {counted(options.max_epochs, 'epoch')}: "
            f"use --max-epochs {options.factor} or more, or --tuner random"
        )


def _looks(plan: Plan) -> str:
    first = f"{plan.epochs(plan.equal_repeats(plan.first)):,} epochs"
    repeats = counted(plan.first, "repeat")
    if not plan.race or len(plan.optimizers) < 2 or len(plan.looks) == 1:
        return f"{repeats}, then one look at the results; {first} in all"
    later = ", ".join(map(str, plan.looks[1:]))
    most = plan.epochs(plan.equal_repeats(plan.looks[-1]))
    return (
        f"first planned look (interim analysis) after {repeats}, {first}; without an answer, "
        f"optimizers still in the race go on to looks at {later}: at most {most:,} epochs in all"
    )


def signatures_of(space: SearchSpace, split: Split, widths: Sequence[int]) -> set[Signature]:
    """Return the programs for all heads of this space; rungs and confirmation runs add none.

    `split` is of any repeat: all have the same sizes. Dense layers are padded to `widths`.
    """
    shapes = {key: one.choices or widths for key, one in space.head.items() if key in COMPILED}
    found = set()
    for name in space.optimizers:
        config = space.default(name)
        for values in itertools.product(*shapes.values()):
            shaped: Any = dict(zip(shapes, values, strict=True))
            head = replace(config, **shaped)
            found.add(signature_of(head, len(split.train), len(split.validation), widths))
    return found


def model_summary(space: SearchSpace, subject: Subject, split: Split, max_epochs: int) -> str:
    """Return Keras's summary of the untuned model, from the user's input to probabilities."""
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
    for model in dict.fromkeys((subject.whole(head), head)):  # for rows both are the head
        model.summary(print_fn=lines.append)
    return "\n".join(lines)
