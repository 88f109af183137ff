"""Warnings in words: what a reader should know before trusting the ranking.

Best values at the edge of their range: there the search space decides, not the optimizer.
"""

import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from study.common.aliases import Value
from study.common.metrics import PLURAL
from study.common.text import join, number, points
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase
from study.report.analysis.data_cautions import image_cautions
from study.report.analysis.ranking import Row, how_lost, lost_every_trial
from study.report.analysis.search_trials import Gain
from study.report.analysis.winners import Curves, WinnerSettings
from study.space.domains import ONE_MINUS, argument_of, turned
from study.space.head_config import SINGLE_ROWS, normalizes_single_rows
from study.verdicts.answer import Answer

MANY_DIVERGED = 0.25  # of an optimizer's trials
UNEQUAL = 1.1  # largest over smallest budget
OVERFIT = 0.15  # training minus validation value at the last epoch
LOST = 0.01  # of the metric
ABSURD_LOSS = 10.0  # times the loss of guessing
LATE = 0.9  # best epoch / trained epochs

# Keras class and what is switched on in it -> those that it can imitate by a choice of its own
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

EDGE = 0.04  # of a range, on its own scale

# Ends that no range can leave: nothing is dropped or smoothed, or the rate does not fall at all.
NATURAL = {("dropout", -1): 0.0, ("label_smoothing", -1): 0.0, ("final_factor", 1): 1.0}


def edges(
    meta: StudyMeta, settings: Iterable[WinnerSettings], diverging: Collection[str] = ()
) -> Iterator[str]:
    """A sentence for each hyperparameter whose best values lie at an edge in most repeats.

    Nobody is told to raise the learning rate of those in `diverging`: what is above is no better.
    An untuned run says nothing of a range.
    """
    table = meta.space["table"]
    for found in settings:
        if found.run.phase is Phase.DEFAULT:
            continue
        for key, spec in _ranges(table, found):
            values = [v for s in found.by_repeat.values() if (v := _sampled(s, key)) is not None]
            sides = [_side(value, spec) for value in values]
            for side, word, wider in ((-1, "lower", "lower it"), (1, "upper", "raise it")):
                if (key, side) == ("learning_rate", 1) and found.optimizer in diverging:
                    continue
                limit = spec["min" if side < 0 else "max"]
                if NATURAL.get((key, side)) != limit and 2 * sides.count(side) > len(sides):
                    yield (
                        f"{found.optimizer}: the best {key} ({_values(values)}) is at the "
                        f"{word} edge of its range, {number(limit)}; {wider} and search again."
                    )


def _values(values: Sequence[float]) -> str:
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


def _ranges(
    table: Mapping[str, Any], found: WinnerSettings
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    schedule = found.values.get("schedule", "")
    for part in (
        table.get("optimizers", {}).get(found.optimizer, {}),
        table.get("head", {}),
        table.get("schedules", {}).get(schedule, {}),
    ):
        for key, spec in part.items():
            if isinstance(spec, Mapping) and "min" in spec and "max" in spec:
                yield key, spec


def _sampled(values: Mapping[str, Value], key: str) -> float | None:
    """The value as it was sampled."""
    value = values.get(argument_of(key))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(turned(key, value))


def _side(value: float, spec: Mapping[str, Any]) -> int:
    """-1 at the lower edge, 1 at the upper, 0 inside."""
    low, high = float(spec["min"]), float(spec["max"])
    if spec.get("scale") == "log" and low > 0 and value > 0:
        low, high, value = math.log(low), math.log(high), math.log(value)
    if high <= low:
        return 0
    place = (value - low) / (high - low)
    return -1 if place < EDGE else 1 if place > 1 - EDGE else 0


class Caution(NamedTuple):
    """`kind` for programs, `text` for people."""

    kind: str
    text: str


def cautions(
    meta: StudyMeta,
    rows: Sequence[Row],
    answer: Answer,
    settings: Sequence[WinnerSettings],
    curves: Iterable[Curves],
    gains: Iterable[Gain],
) -> list[Caution]:
    """Everything that should make a reader careful, the gravest first."""
    confirmed = [row for row in rows if row.basis is Phase.CONFIRM]
    found: list[Caution] = []
    found += _incomplete(meta, rows, answer)
    found += _budget(meta, rows)
    found += _undertuned(meta, answer)
    found += _resolution(meta, answer)
    diverging = {row.optimizer for row in _diverging(rows)}
    found += [Caution("edge of range", text) for text in edges(meta, settings, diverging)]
    found += _untuned(meta, rows, gains)
    found += _training(meta, confirmed, curves)
    found += _diverged(rows)
    found += _absurd(meta, confirmed)
    found += _several_losses(meta, settings)
    found += _single_rows(meta)
    found += _classes(meta)
    found += [Caution(*caution) for caution in image_cautions(meta)]
    found += _made_otherwise(meta)
    return found


def _made_otherwise(meta: StudyMeta) -> Iterator[Caution]:
    alone = [name for name, own in meta.code.items() if own["alone"]]
    if alone:
        yield Caution(
            "trained alone",
            f"Plain Keras trained {join(alone)} one head at a time: what its runs took in seconds "
            "does not compare with that of the others.",
        )
    if len(meta.versions) > 1:
        changed = [
            f"{name} {before[name]} -> {after[name]}"
            for before, after in itertools.pairwise(meta.versions)
            for name in after
            if before[name] != after[name]
        ]
        yield Caution("versions", f"Runs were made with several versions: {join(changed)}.")


def _incomplete(meta: StudyMeta, rows: Sequence[Row], answer: Answer) -> Iterator[Caution]:
    if meta.partial:
        yield Caution("partial", f"This study is partial: {meta.partial.rstrip('.')}.")
    elif not meta.finished:
        yield Caution(
            "unfinished",
            "This study has not ended: it is running, or was interrupted and can be resumed by "
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
            f"All repeats share {owner} one split, so the intervals leave out the luck of the "
            "split; --split stratified draws a fresh one for every repeat.",
        )
    if repeats == 1:
        text = "there are no intervals, because one rerun has no spread."
        if any(len(row.runs) > 1 for row in rows if row.basis is Phase.CONFIRM):
            text = "the intervals show the spread of reruns and leave out the luck of the search."
        yield Caution("one repeat", f"One repeat only: {text}")


def _budget(meta: StudyMeta, rows: Iterable[Row]) -> Iterator[Caution]:
    spent = {row.optimizer: row.epochs / row.searches for row in rows if row.epochs}
    if len(spent) < 2 or max(spent.values()) <= UNEQUAL * min(spent.values()):
        return
    least, most = min(spent, key=spent.__getitem__), max(spent, key=spent.__getitem__)
    joint = meta.settings["allocation"] == "joint"
    yield Caution(
        "unequal budgets",
        f"Budgets were unequal{' (one joint search)' if joint else ''}: the search trained "
        f"{least} for {spent[least]:.0f} epochs a repeat and {most} for {spent[most]:.0f}; who was "
        "tuned longer has an advantage.",
    )


def _kind(entry: Mapping[str, Any]) -> str:
    """Return an optimizer's Keras class with what its entry in the space switches on."""
    on = (key for key in SWITCHES if entry.get(key) or f"{ONE_MINUS}{key}" in entry)
    return " with ".join((entry["class"], *itertools.islice(on, 1)))


def _undertuned(meta: StudyMeta, answer: Answer) -> Iterator[Caution]:
    """Only what the bounds say, which hold for all pairs at once."""
    entries = meta.space.get("table", {}).get("optimizers", {})
    kinds = {name: _kind(entry) for name, entry in entries.items()}
    low = answer.bounds.low(strict=True)
    for place, ahead in enumerate(answer.optimizers):
        for other, one in enumerate(answer.optimizers):
            contained = CONTAINS.get(kinds.get(one.optimizer, ""), ())
            if low[place, other] > 0 and kinds.get(ahead.optimizer) in contained:
                gap = points(float(answer.bounds.difference[place, other]))
                yield Caution(
                    "under-tuned",
                    f"{one.optimizer} can imitate {ahead.optimizer} but is {gap} points behind it: "
                    f"{one.optimizer} is under-tuned, give it more trials or another range.",
                )


def _resolution(meta: StudyMeta, answer: Answer) -> Iterator[Caution]:
    """Whether the images, not the repeats, limit what can be known: by the paired error."""
    bounds = [one.at_most_behind_new_images for one in answer.optimizers]
    if not any(bounds) or not answer.images_needed > 1:  # NaN is not
        return
    images = meta.split_sizes["validation"]
    reach = math.sqrt(answer.images_needed) * answer.margin
    yield Caution(
        "few images",
        f"The validation set has {images} {meta.noun}s: on new {meta.noun}s of the same kind the "
        f"gap between {answer.leader} and another optimizer stays uncertain by up to "
        f"{points(reach)} points to either side, however many repeats are run.",
    )


def _untuned(meta: StudyMeta, rows: Iterable[Row], gains: Iterable[Gain]) -> Iterator[Caution]:
    lost = [g for g in gains if g.default - g.tuned > LOST]
    if lost:
        names = [
            f"{g.optimizer} ({100 * g.default:.1f} % untuned, {100 * g.tuned:.1f} % tuned)"
            for g in lost
        ]
        tried = {row.optimizer: row.trials - row.searches for row in rows}
        why = f"the search was misled, by luck on few validation {meta.noun}s"
        if meta.partial:
            why = "the search was cut short"
        elif not any(tried[g.optimizer] for g in lost):
            why = "a search of one trial tunes nothing"
        elif meta.settings["tuner"] == "hyperband":
            why += " or by stopping slow starters early; --tuner random does not stop any"
        else:
            why += f"; more trials or more {meta.noun}s may help"
        yield Caution(
            "tuning lost",
            f"Keras's default settings did better than the tuned ones for {join(names)}: {why}.",
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
            f"Still improving at the last epoch: {join(late)}; more --max-epochs may change "
            "the ranking.",
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
            f"Training {words} ends well above validation {words} for {join(fit)} "
            f"({worst}: by {points(gaps[worst])} points): more {meta.noun}s, more dropout or a "
            "narrower layer may help.",
        )
    lucky = [r.optimizer for r in rows if r.mean - r.test_value > 0.03 and r.test_value < r.low]
    if lucky:
        yield Caution(
            "test below validation",
            f"Test {words} lies below the interval of the validation {words} for {join(lucky)}: "
            f"the best epoch was picked on the validation {meta.noun}s, so trust the test column.",
        )


def _diverged(rows: Iterable[Row]) -> Iterator[Caution]:
    rows = list(rows)
    many = _diverging(rows)
    if many:
        counts = join([f"{r.optimizer} {r.diverged} of {r.trials}" for r in many])
        yield Caution(
            "diverged", f"Many trials diverged ({counts}): lower the upper end of learning_rate."
        )
    unstable = [r for r in rows if r.confirm_diverged]
    if unstable:
        yield Caution(
            "winner diverged",
            "Tuned settings diverged when they were run again: "
            + join([f"{r.optimizer} {r.confirm_diverged} of {r.reruns} times" for r in unstable])
            + "; such an optimizer is never called good enough.",
        )
    failed = [f"{r.optimizer} {r.failed}" for r in rows if r.failed]
    if failed:
        yield Caution("failed", f"Trials that could not be trained, left out: {join(failed)}.")


def _diverging(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row.trials and row.diverged / row.trials >= MANY_DIVERGED]


def _absurd(meta: StudyMeta, rows: Iterable[Row]) -> Iterator[Caution]:
    """A run is called diverged only if it guesses, too: one that is right may have any loss."""
    guess = math.log(max(len(meta.class_names), 2))
    losses = {r.optimizer: max(r.val_loss, r.last_loss) for r in rows if r.converged}
    absurd = [f"{n} ({loss:,.0f})" for n, loss in losses.items() if loss > ABSURD_LOSS * guess]
    if absurd:
        yield Caution(
            "absurd loss",
            f"The validation loss is absurd for {join(absurd)}; guessing has {guess:.2f}. Such a "
            "head is as sure of its mistakes as of the rest: trust the classes it names as far as "
            f"the {meta.metric_words} goes, and its probabilities not at all.",
        )


def _several_losses(meta: StudyMeta, settings: Sequence[WinnerSettings]) -> Iterator[Caution]:
    values = PLURAL[meta.metric]
    smoothing = sorted({float(s.values.get("label_smoothing", 0.0)) for s in settings})
    if len(smoothing) > 1:
        yield Caution(
            "several losses",
            f"Validation losses are those of labels smoothed by {number(smoothing[0])} to "
            f"{number(smoothing[-1])}, so they do not compare between optimizers; "
            f"{values[0].lower()}{values[1:]} do.",
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
        f"{meta.class_names[least]} {counts[least]}; always saying {meta.class_names[most]} would "
        f"be right for {100 * counts[most] / max(sum(counts), 1):.0f} %.",
    )
