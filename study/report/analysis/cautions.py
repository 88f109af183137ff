"""Warnings in words: what a reader should know before trusting the ranking."""

import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from study.common.aliases import Value
from study.common.metrics import PLURAL
from study.common.text import counted, join, number, points, some
from study.records.outcomes import ABSURD_LOSS
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase
from study.report.analysis.data_cautions import Caution, data_cautions
from study.report.analysis.ranking import Row, fails_the_test, how_lost, lost_every_trial
from study.report.analysis.search_trials import Gain
from study.report.analysis.winners import Curves, WinnerSettings
from study.space.domains import ONE_MINUS, argument_of, turned
from study.space.head_config import SINGLE_ROWS, normalizes_single_rows
from study.verdicts.answer import Answer

MANY_DIVERGED = 0.25  # share of an optimizer's trials
UNEQUAL = 1.1  # largest / smallest budget
OVERFIT = 0.15  # training minus validation value at the last epoch
LOST = 0.01  # of the metric
LATE = 0.9  # best epoch / trained epochs
EDGE = 0.04  # share of a range, on its own scale
FEW = 5  # training images of a class: with fewer, docs/new_images.md has too many false bounds

# Ends that no range can exceed: nothing is dropped or smoothed, or the rate does not fall at all.
NATURAL = {("dropout", -1): 0.0, ("label_smoothing", -1): 0.0, ("final_factor", 1): 1.0}

# Keras class with what is switched on in it -> the ones that it can imitate by a choice of its own
# hyperparameters (Choi et al. 2019).
SWITCHES = ("nesterov", "amsgrad", "momentum")
CONTAINS = {
    "SGD with momentum": ("SGD",),
    "SGD with nesterov": ("SGD",),
    "RMSprop": ("SGD",),
    "RMSprop with momentum": ("SGD", "SGD with momentum", "RMSprop"),
    "Adam": ("SGD", "SGD with momentum", "RMSprop"),
    "Adam with amsgrad": ("SGD", "SGD with momentum"),
    "AdamW": ("Adam", "SGD", "SGD with momentum", "RMSprop"),
    "Nadam": ("SGD", "SGD with nesterov"),
}


def cautions(
    meta: StudyMeta,
    rows: Sequence[Row],
    answer: Answer,
    settings: Sequence[WinnerSettings],
    curves: Iterable[Curves],
    gains: Iterable[Gain],
) -> list[Caution]:
    """Return everything that should make a reader careful, the gravest first."""
    confirmed = [row for row in rows if row.basis is Phase.CONFIRM]
    diverging = [row for row in rows if row.trials and row.diverged / row.trials >= MANY_DIVERGED]
    return [
        *_incomplete(meta, rows, answer),
        *_few_images(meta, answer),
        *_budget(meta, rows),
        *_undertuned(meta, answer),
        *_edges(meta, settings, {row.optimizer for row in diverging}),
        *_untuned(meta, rows, gains),
        *_training(meta, confirmed, curves),
        *_diverged(rows, diverging),
        *_absurd(meta, confirmed),
        *_several_losses(meta, settings),
        *_single_rows(meta),
        *_classes(meta),
        *data_cautions(meta),
        *_runs_differ(meta),
    ]


def _incomplete(meta: StudyMeta, rows: Sequence[Row], answer: Answer) -> Iterator[Caution]:
    if meta.partial:
        yield Caution("partial", f"This study is partial: {meta.partial.rstrip('.')}.")
    elif not meta.finished:
        yield Caution(
            "unfinished",
            "This study has not ended: it is running, or was interrupted and can be resumed with "
            "the same command.",
        )
    missing = [row.optimizer for row in rows if row.basis is not Phase.CONFIRM]
    missing += [name for name in meta.optimizers if name not in {row.optimizer for row in rows}]
    if missing and len(missing) < len(meta.optimizers):
        yet = "" if meta.finished and not meta.partial else " yet"
        lost = {r.optimizer: f" ({how_lost([r], r.trials)})" for r in rows if lost_every_trial(r)}
        names = join([name + lost.get(name, "") for name in missing])
        yield Caution("unconfirmed", f"Not confirmed{yet}, so not ranked: {names}.")
    repeats = max((one.repeats for one in answer.optimizers), default=0)
    owner = "Keras's" if meta.settings["split"] == "keras" else "the folders'"
    if meta.one_split and repeats > 1:
        yield Caution(
            "one split",
            f"All repeats share {owner} one split, so the intervals ignore variation between "
            "splits; --split stratified draws a fresh split for each repeat.",
        )
    if repeats == 1:
        text = "there are no intervals, because one confirmation run has no spread."
        if any(len(row.runs) > 1 for row in rows if row.basis is Phase.CONFIRM):
            text = "the intervals show the spread of confirmation runs, not that of searches."
        yield Caution("one repeat", f"One repeat only: {text}")


def _few_images(meta: StudyMeta, answer: Answer) -> Iterator[Caution]:
    each = meta.split_sizes["train"] / max(len(meta.class_names), 1)
    if each < FEW and any(one.at_most_behind_new_images is not None for one in answer.optimizers):
        yield Caution(
            "few images of a class",
            f"A class has only {number(each, 2)} training {meta.noun}s on average: with so few, up "
            f"to 10 % of simulated studies had a false bound on new {meta.noun}s, not 5 %.",
        )


def _budget(meta: StudyMeta, rows: Iterable[Row]) -> Iterator[Caution]:
    spent = {row.optimizer: row.epochs / row.searches for row in rows if row.epochs}
    if len(spent) < 2 or max(spent.values()) <= UNEQUAL * min(spent.values()):
        return
    least, most = min(spent, key=spent.__getitem__), max(spent, key=spent.__getitem__)
    joint = " (one joint search)" if meta.settings["allocation"] == "joint" else ""
    yield Caution(
        "unequal budgets",
        f"Budgets were unequal{joint}: the search trained {least} for {spent[least]:.0f} epochs "
        f"per repeat and {most} for {spent[most]:.0f}; an optimizer that was tuned longer has an "
        "advantage.",
    )


def _undertuned(meta: StudyMeta, answer: Answer) -> Iterator[Caution]:
    """Use only the bounds that hold for all pairs simultaneously."""
    entries = meta.space.get("table", {}).get("optimizers", {})
    kinds = {name: _kind(entry) for name, entry in entries.items()}
    low = answer.bounds.low(strict=True)
    for ahead, behind in np.argwhere(low > 0):
        first, second = (answer.optimizers[place].optimizer for place in (ahead, behind))
        if kinds.get(first) in CONTAINS.get(kinds.get(second, ""), ()):
            gap = points(float(answer.bounds.difference[ahead, behind]))
            yield Caution(
                "under-tuned",
                f"{second} can imitate {first} but is {gap} points behind it: {second} is "
                "under-tuned; give it more trials or another range.",
            )


def _kind(entry: Mapping[str, Any]) -> str:
    """Return an optimizer's Keras class with what its entry in the space switches on."""
    on = (key for key in SWITCHES if entry.get(key) or f"{ONE_MINUS}{key}" in entry)
    return " with ".join((entry["class"], *itertools.islice(on, 1)))


def _edges(
    meta: StudyMeta, settings: Iterable[WinnerSettings], diverging: Collection[str]
) -> Iterator[Caution]:
    """Warn where the best values lie at an edge in most repeats: there the search space decides.

    The learning rate of optimizers in `diverging` is not to be raised: larger ones are no better.
    A default run says nothing about a range.
    """
    for found in settings:
        if found.run.phase is Phase.DEFAULT:
            continue
        for key, spec in _ranges(meta.space["table"], found):
            values = [v for s in found.by_repeat.values() if (v := _sampled(s, key)) is not None]
            sides = [_side(value, spec) for value in values]
            for side, word, wider in ((-1, "lower", "lower it"), (1, "upper", "raise it")):
                if (key, side) == ("learning_rate", 1) and found.optimizer in diverging:
                    continue
                limit = spec["min" if side < 0 else "max"]
                if NATURAL.get((key, side)) != limit and 2 * sides.count(side) > len(sides):
                    span = " to ".join(dict.fromkeys((number(min(values)), number(max(values)))))
                    yield Caution(
                        "edge of range",
                        f"{found.optimizer}: the best {key} ({span}) is at the {word} edge of its "
                        f"range, {number(limit)}, in {sides.count(side)} of "
                        f"{counted(len(sides), 'repeat')}; {wider} and search again.",
                    )


def _ranges(
    table: Mapping[str, Any], found: WinnerSettings
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for entry in (
        table.get("optimizers", {}).get(found.optimizer, {}),
        table.get("head", {}),
        table.get("schedules", {}).get(found.values.get("schedule", ""), {}),
    ):
        for key, spec in entry.items():
            if isinstance(spec, Mapping) and "min" in spec and "max" in spec:
                yield key, spec


def _sampled(values: Mapping[str, Value], key: str) -> float | None:
    """Return the value as it was sampled: of `one_minus_X`, 1 - X."""
    value = values.get(argument_of(key))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(turned(key, value))


def _side(value: float, spec: Mapping[str, Any]) -> int:
    """Return -1 at the lower edge, 1 at the upper, 0 inside."""
    low, high = float(spec["min"]), float(spec["max"])
    if spec.get("scale") == "log" and low > 0 and value > 0:
        low, high, value = math.log(low), math.log(high), math.log(value)
    if high <= low:
        return 0
    place = (value - low) / (high - low)
    return -1 if place < EDGE else 1 if place > 1 - EDGE else 0


def _untuned(meta: StudyMeta, rows: Iterable[Row], gains: Iterable[Gain]) -> Iterator[Caution]:
    lost = [g for g in gains if g.default - g.tuned > LOST]
    if not lost:
        return
    names = [
        f"{g.optimizer} ({points(g.default)} % default, {points(g.tuned)} % tuned)" for g in lost
    ]
    tried = {row.optimizer: row.trials - row.searches for row in rows}
    why = f"the search was misled, by chance on few validation {meta.noun}s"
    if meta.partial:
        why = "the search was cut short"
    elif not any(tried[g.optimizer] for g in lost):
        why = "a search of one trial tunes nothing"
    elif meta.settings["tuner"] == "hyperband":
        why += " or by stopping slow starters early; --tuner random stops none"
    else:
        why += f"; more trials or more {meta.noun}s may help"
    yield Caution(
        "tuning lost",
        f"As measured, Keras's default hyperparameters did better than the tuned ones for "
        f"{join(names)}: {why}.",
    )


def _training(meta: StudyMeta, rows: Sequence[Row], curves: Iterable[Curves]) -> Iterator[Caution]:
    words = meta.metric_words
    late = [
        r.optimizer
        for r in rows
        if r.trained_epochs >= 5 and r.best_epoch > LATE * r.trained_epochs
    ]
    if late:
        yield Caution(
            "still improving",
            f"Still improving at the last epoch: {some(late, 'optimizer')}; a larger --max-epochs "
            "may change the ranking.",
        )
    shown = {row.optimizer for row in rows}
    gaps = {
        c.optimizer: float(c.value.mean[-1] - c.val_value.mean[-1])
        for c in curves
        if c.optimizer in shown
    }
    fit = [name for name, gap in gaps.items() if gap > OVERFIT]
    if fit:
        worst = max(fit, key=gaps.__getitem__)
        yield Caution(
            "overfitting",
            f"Training {words} ends well above validation {words} for {some(fit, 'optimizer')} "
            f"({worst}: by {points(gaps[worst])} points): more {meta.noun}s, more dropout or a "
            "narrower layer may help.",
        )
    lower = {r.optimizer: r.mean - r.test_value for r in rows if fails_the_test(meta, r)}
    if lower:
        worst = max(lower, key=lower.__getitem__)
        shared = (
            f" Or training and validation {meta.noun}s share what these lack, such as a patient: "
            "then search with --group."
        )
        yield Caution(
            "test below validation",
            f"Test {words} is below validation {words} for {some(list(lower), 'optimizer')}, by "
            f"more than chance explains ({worst}: by {points(lower[worst])} points): the test "
            f"{meta.noun}s are harder or of another kind, so expect what the test column says."
            f"{'' if meta.data.get('groups') else shared}",
        )


def _diverged(rows: Iterable[Row], diverging: Iterable[Row]) -> Iterator[Caution]:
    many = join([f"{r.optimizer} {r.diverged} of {r.trials}" for r in diverging])
    if many:
        yield Caution(
            "diverged",
            f"Many trials diverged ({many}): lower the upper end of the range of learning_rate.",
        )
    unstable = [r for r in rows if r.confirm_diverged]
    if unstable:
        counts = [f"{r.optimizer} {r.confirm_diverged} of {r.reruns} times" for r in unstable]
        yield Caution(
            "winner diverged",
            f"Tuned configurations diverged when they were trained again: {join(counts)}; such an "
            "optimizer is never called good enough.",
        )
    failed = join([f"{r.optimizer} {r.failed}" for r in rows if r.failed])
    if failed:
        yield Caution("failed", f"Trials that could not be trained and are left out: {failed}.")


def _absurd(meta: StudyMeta, rows: Iterable[Row]) -> Iterator[Caution]:
    """Warn of huge losses: a run counts as diverged only if its metric is at chance, too."""
    guess = math.log(max(len(meta.class_names), 2))
    losses = {r.optimizer: max(r.val_loss, r.last_loss) for r in rows if r.converged}
    absurd = [f"{n} ({loss:,.0f})" for n, loss in losses.items() if loss > ABSURD_LOSS * guess]
    if absurd:
        yield Caution(
            "absurd loss",
            f"The validation loss of {join(absurd)} is absurd; guessing gives {guess:.2f}. Such a "
            "head is as confident when wrong as when right: trust the classes it predicts as far "
            f"as the {meta.metric_words} goes, but not its probabilities.",
        )


def _several_losses(meta: StudyMeta, settings: Sequence[WinnerSettings]) -> Iterator[Caution]:
    values = PLURAL[meta.metric]
    smoothing = sorted({float(s.values.get("label_smoothing", 0.0)) for s in settings})
    if len(smoothing) > 1:
        yield Caution(
            "several losses",
            f"Validation losses are those of labels smoothed by {number(smoothing[0])} to "
            f"{number(smoothing[-1])}, so they are not comparable between optimizers; "
            f"{values[0].lower()}{values[1:]} are.",
        )


def _single_rows(meta: StudyMeta) -> Iterator[Caution]:
    if normalizes_single_rows(meta.space["table"].get("head", {})):
        yield Caution("single rows", f"The search space has {SINGLE_ROWS}.")


def _classes(meta: StudyMeta) -> Iterator[Caution]:
    counts = meta.class_counts
    if not meta.unbalanced:
        return
    most, least = counts.index(max(counts)), counts.index(min(counts))
    yield Caution(
        "unbalanced classes",
        f"Classes are unbalanced: {meta.class_names[most]} has {counts[most]} {meta.noun}s, "
        f"{meta.class_names[least]} {counts[least]}; always predicting {meta.class_names[most]} "
        f"would be right for {100 * counts[most] / max(sum(counts), 1):.0f} %.",
    )


def _runs_differ(meta: StudyMeta) -> Iterator[Caution]:
    alone = [name for name, own in meta.code.items() if own["alone"]]
    if alone:
        yield Caution(
            "trained alone",
            f"Plain Keras trained {join(alone)} one head at a time, so the seconds of these runs "
            "are not comparable with those of the others.",
        )
    changed = [
        f"{name} {before[name]} -> {after[name]}"
        for before, after in itertools.pairwise(meta.versions)
        for name in after
        if before[name] != after[name]
    ]
    if len(meta.versions) > 1:
        yield Caution("versions", f"Runs were made with several versions: {join(changed)}.")
