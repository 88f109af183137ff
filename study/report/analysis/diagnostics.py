"""Warnings in words: what a reader should know before trusting the ranking."""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase
from study.report.analysis.range_edges import edges
from study.report.analysis.ranking import Row
from study.report.analysis.search_trials import Gain
from study.report.analysis.winners import Curves, Settings
from study.report.analysis.wording import join, points
from study.verdicts.answer import Answer

MANY_DIVERGED = 0.25  # of an optimizer's trials
UNEQUAL = 1.1  # largest over smallest budget
UNBALANCED = 3.0  # largest over smallest class
OVERFIT = 0.15  # training minus validation accuracy at the last epoch
LOST = 0.01  # accuracy
LATE = 0.9  # best epoch / trained epochs

# Each can imitate those behind it by a choice of its own hyperparameters (Choi et al. 2019).
CONTAINS = {
    "momentum": ("sgd",),
    "nesterov": ("sgd",),
    "rmsprop": ("sgd", "momentum"),
    "adam": ("sgd", "momentum", "rmsprop"),
    "amsgrad": ("sgd", "momentum"),
    "adamw": ("adam", "sgd", "momentum", "rmsprop"),
    "nadam": ("sgd", "nesterov"),
}


class Caution(NamedTuple):
    """`kind` for programs, `text` for people."""

    kind: str
    text: str


def cautions(
    meta: StudyMeta,
    rows: Sequence[Row],
    answer: Answer,
    settings: Iterable[Settings],
    curves: Iterable[Curves],
    gains: Iterable[Gain],
) -> list[Caution]:
    """Everything that should make a reader careful, the gravest first."""
    confirmed = [row for row in rows if row.basis is Phase.CONFIRM]
    found: list[Caution] = []
    found += _incomplete(meta, rows, answer)
    found += _budget(meta, rows)
    found += _undertuned(answer)
    found += _resolution(meta, answer)
    found += [Caution("edge of range", text) for text in edges(meta, settings)]
    found += _untuned(meta, gains)
    found += _training(confirmed, curves)
    found += _diverged(rows)
    found += _classes(meta)
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
            f"{name} {before.get(name, 'none')} -> {after[name]}"
            for before, after in itertools.pairwise(meta.versions)
            for name in after
            if before.get(name) != after[name]
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
        yield Caution("unconfirmed", f"Not confirmed yet, so not ranked: {join(missing)}.")
    repeats = max((one.repeats for one in answer.optimizers), default=0)
    if meta.settings.get("split") == "keras" and repeats > 1:
        yield Caution(
            "one split",
            "All repeats share Keras's one split, so the intervals leave out the luck of the "
            "split; --split stratified draws a fresh one for every repeat.",
        )
    if repeats == 1:
        yield Caution(
            "one repeat",
            "One repeat only: the intervals show the spread of reruns on one split after one "
            "search and leave out the luck of the search and of the split.",
        )


def _budget(meta: StudyMeta, rows: Iterable[Row]) -> Iterator[Caution]:
    spent = {row.optimizer: row.epochs / row.searches for row in rows if row.epochs}
    if len(spent) < 2 or max(spent.values()) <= UNEQUAL * min(spent.values()):
        return
    least, most = min(spent, key=spent.__getitem__), max(spent, key=spent.__getitem__)
    joint = meta.settings.get("allocation") == "joint"
    yield Caution(
        "unequal budgets",
        f"Budgets were unequal{' (one joint search)' if joint else ''}: the search trained "
        f"{least} for {spent[least]:.0f} epochs a repeat and {most} for {spent[most]:.0f}; who was "
        "tuned longer has an advantage.",
    )


def _undertuned(answer: Answer) -> Iterator[Caution]:
    """Only what the bounds say, which hold for all pairs at once."""
    low = answer.bounds.low(strict=True)
    for place, ahead in enumerate(answer.optimizers):
        for other, one in enumerate(answer.optimizers):
            if low[place, other] > 0 and ahead.optimizer in CONTAINS.get(one.optimizer, ()):
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
    images = meta.split_sizes.get("validation", 0)
    reach = math.sqrt(answer.images_needed) * answer.margin
    yield Caution(
        "few images",
        f"The validation set has {images} images: on new images of the same kind the gap "
        f"between {answer.leader} and another optimizer stays uncertain by up to {points(reach)} "
        "points to either side, however many repeats are run.",
    )


def _untuned(meta: StudyMeta, gains: Iterable[Gain]) -> Iterator[Caution]:
    lost = [g for g in gains if g.default - g.tuned > LOST]
    if lost:
        names = [
            f"{g.optimizer} ({100 * g.default:.1f} % untuned, {100 * g.tuned:.1f} % tuned)"
            for g in lost
        ]
        early = "; more trials or more images may help"
        if meta.settings.get("tuner") == "hyperband":
            early = " or by stopping slow starters early; --tuner random does not stop any"
        yield Caution(
            "tuning lost",
            f"Keras's default settings did better than the tuned ones for {join(names)}: the "
            f"search was misled, by luck on few validation images{early}.",
        )


def _training(rows: Sequence[Row], curves: Iterable[Curves]) -> Iterator[Caution]:
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
        c.optimizer: float(c.accuracy.mean[-1] - c.val_accuracy.mean[-1])
        for c in curves
        if c.optimizer in shown
    }
    fit = [name for name, gap in gaps.items() if gap > OVERFIT]
    if fit:
        worst = max(fit, key=gaps.__getitem__)
        yield Caution(
            "overfitting",
            f"Training accuracy ends well above validation accuracy for {join(fit)} "
            f"({worst}: by {points(gaps[worst])} points): more images, more dropout or a "
            "narrower layer may help.",
        )
    lucky = [
        r.optimizer for r in rows if r.mean - r.test_accuracy > 0.03 and r.test_accuracy < r.low
    ]
    if lucky:
        yield Caution(
            "test below validation",
            f"Test accuracy lies below the interval of the validation accuracy for {join(lucky)}: "
            "the best epoch was picked on the validation images, so trust the test column.",
        )


def _diverged(rows: Iterable[Row]) -> Iterator[Caution]:
    rows = list(rows)
    many = [r for r in rows if r.trials and r.diverged / r.trials >= MANY_DIVERGED]
    if many:
        counts = join([f"{r.optimizer} {r.diverged} of {r.trials}" for r in many])
        yield Caution(
            "diverged", f"Many trials diverged ({counts}): lower the upper end of learning_rate."
        )
    unstable = [r for r in rows if r.confirm_diverged]
    if unstable:
        yield Caution(
            "winner diverged",
            "The winner itself diverged when it was run again: "
            + join([f"{r.optimizer} {r.confirm_diverged} of {r.reruns} times" for r in unstable])
            + "; it is never called good enough.",
        )
    failed = [f"{r.optimizer} {r.failed}" for r in rows if r.failed]
    if failed:
        yield Caution("failed", f"Trials that could not be trained, left out: {join(failed)}.")


def _classes(meta: StudyMeta) -> Iterator[Caution]:
    counts = meta.class_counts
    if len(counts) < 2 or max(counts) < UNBALANCED * min(counts):
        return
    most, least = counts.index(max(counts)), counts.index(min(counts))
    yield Caution(
        "unbalanced classes",
        f"Classes are unbalanced: {meta.class_names[most]} has {counts[most]} images, "
        f"{meta.class_names[least]} {counts[least]}; always saying {meta.class_names[most]} would "
        f"be right for {100 * counts[most] / max(sum(counts), 1):.0f} %.",
    )
