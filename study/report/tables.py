"""Summary -> tables of text, the same for the terminal, Markdown and HTML.

Which runs a page lists: a browser shows no table of a million lines.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from study.common.metrics import ACCURACY, PLURAL, SHORT
from study.common.text import number, plain, points
from study.records.outcomes import chance, score
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase, TrialRecord
from study.report.analysis.ranking import rank
from study.report.analysis.summary import Summary
from study.report.analysis.winners import evaluation_line
from study.verdicts.answer import Judged, Standing, Verdict
from study.verdicts.judge import answer_of

INNER = ("widths", "rounding")  # what `StudyMeta.device` says to the program alone

MOST_LISTED = 50_000


def listed_runs(
    records: Sequence[TrialRecord], guess: float, most: int = MOST_LISTED
) -> list[TrialRecord]:
    """All records, or the `most` best of more than that, in the order they have.

    Args:
        records: of a study.
        guess: what a diverged run is worth.
        most: how many a page has room for.
    """
    if len(records) <= most:
        return list(records)
    values = [score(record, guess) for record in records]
    ranked = sorted(
        range(len(records)),
        key=lambda place: -math.inf if math.isnan(values[place]) else values[place],
        reverse=True,
    )
    return [records[place] for place in sorted(ranked[:most])]


class Table(NamedTuple):
    """Text cells; the first column holds names, the others numbers."""

    title: str
    note: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def percent(value: float) -> str:
    """A fraction in percent, without the sign; a dash for NaN."""
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def decimal(value: float, digits: int = 3) -> str:
    """A number; a dash for NaN."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def gap(value: float | None) -> str:
    """A difference in points; a dash where nothing can be said."""
    return "–" if value is None or math.isnan(value) else points(value)


def ranking_table(summary: Summary) -> Table:
    """The table of optimizers as it is printed, best first."""
    metric, rows = summary.meta.metric, []
    beside = metric != ACCURACY  # then accuracy is shown, too
    for row in summary.rows:
        one = summary.answer.about(row.optimizer)
        confirmed = row.basis is Phase.CONFIRM
        rows.append(
            (
                plain(row.optimizer, 40),
                verdict_words(one) if confirmed else "not confirmed",
                gap(one.at_most_behind),
                gap(one.at_most_behind_new_images),
                percent(row.mean),
                percent(row.test_value),
                *((percent(row.val_accuracy), percent(row.test_accuracy)) if beside else ()),
                f"{one.diverged}/{one.reruns}" if confirmed else "–",
                str(one.repeats),
                decimal(row.val_loss),
                percent(row.last_value),
                decimal(row.best_epoch, 0),
                decimal(row.seconds_per_trial, 2),
                str(row.trials),
                str(row.epochs),
                str(row.diverged),
                str(row.failed),
            )
        )
    margin, short, noun = points(summary.answer.margin), SHORT[metric], summary.meta.noun
    return Table(
        "Ranking",
        f"Good enough: at most {margin} points behind the best, and no rerun diverged. Excluded: "
        "another optimizer is certainly ahead, by however little. Behind: at most so many points "
        f"behind the best, all bounds together with 95 % confidence; new: on new {noun}s of the "
        f"same kind; a dash: no more is known than that nobody exceeds 100 %. {PLURAL[metric]} in "
        f"percent, means over reruns of the tuned settings; val {short} adjusted to the leader's "
        f"repeats. {'Acc: accuracy at the best epoch. ' if beside else ''}"
        "Diverged counts reruns, search diverged counts trials.",
        (
            *("optimizer", "verdict", "behind ≤", "new ≤", f"val {short}", f"test {short}"),
            *(("val acc", "test acc") if beside else ()),
            *("diverged", "repeats", "val loss", f"last {short}", "best epoch", "s/trial"),
            *("trials", "epochs", "search diverged", "failed"),
        ),
        tuple(rows),
    )


def verdict_table(summary: Summary) -> Table:
    """What of the ranking fits into a notebook."""
    whole = ranking_table(summary)
    last = whole.head.index("repeats") + 1
    return whole._replace(head=whole.head[:last], rows=tuple(row[:last] for row in whole.rows))


def verdict_words(one: Judged) -> str:
    """The verdict on an optimizer that was confirmed."""
    if one.at_most_behind is None and one.verdict is Verdict.UNDECIDED:
        return "no verdict"
    return one.verdict.value


def settings_table(summary: Summary) -> Table:
    """Best hyperparameters: optimizers down, keys across."""
    keys = list(dict.fromkeys(key for found in summary.settings for key in found.values))
    rows = []
    for found in summary.settings:
        cells = [plain(found.optimizer, 40)]
        for key in keys:
            value = plain(number(found.values[key])) if key in found.values else ""
            others = found.others.get(key)
            cells.append(f"{value} ({plain(others, 60)})" if others and value else value)
        rows.append(tuple(cells))
    title = "Typical hyperparameters of the winners"
    note = (
        "Of a typical winner: the repeat in the middle of all, not the luckiest. In brackets what "
        "the winners of all repeats span."
    )
    if not _confirmed(summary):
        title = "Hyperparameters of the best single runs"
        note = "No winner has been confirmed by a rerun."
    return Table(
        title,
        note,
        ("optimizer", *(plain(key, 40) for key in keys)),
        tuple(rows),
    )


def code_title(summary: Summary) -> str:
    """What stands over the printed code."""
    return f"The {'winner' if _confirmed(summary) else 'best single run'} as Keras code"


def _confirmed(summary: Summary) -> bool:
    return any(found.run.phase is Phase.CONFIRM for found in summary.settings)


def robustness_table(summary: Summary) -> Table:
    """What an optimizer asks of its user."""
    rows = [
        (
            plain(one.optimizer, 40),
            percent(one.median),
            percent(one.low),
            str(one.draws),
            f"{one.diverged}/{one.settings}" if one.settings else "–",
            f"{percent(one.diverged_low)}–{percent(one.diverged_high)}" if one.settings else "–",
            decimal(one.epochs, 1),
            decimal(one.seconds, 2),
        )
        for one in summary.robustness
    ]
    margin = points(summary.answer.margin)
    return Table(
        "Robustness and cost",
        "What a setting drawn at random from the search space and trained whole reaches: half of "
        "them at least the median, nine of ten at least the 10 % quantile (diverged ones guess). "
        "Diverged: of all settings drawn at random, with the 95 % interval of the share in "
        f"percent. Then epochs and seconds until a rerun of the winner is within {margin} points "
        "of its own best.",
        (
            *("optimizer", "random setting: median", "10 %", "draws", "diverged", "95 %"),
            *("epochs to the margin", "seconds"),
        ),
        tuple(rows),
    )


def pairs_table(summary: Summary) -> Table:
    """Pairwise differences, the surest first."""
    noun = summary.meta.noun
    ordered = sorted(
        summary.pairs,
        key=lambda p: -abs(p.difference) / (p.high - p.low) if p.high > p.low else math.inf,
    )
    rows = [
        (
            f"{plain(p.first)} over {plain(p.second)}",
            str(p.repeats),
            gap(p.difference),
            f"{points(p.low)} to {points(p.high)}" if not math.isnan(p.low) else "–",
            "yes" if p.separated else "no",
            f"{points(p.new_low)} to {points(p.new_high)}" if not math.isnan(p.new_low) else "–",
            "yes" if p.carries_over else "no",
            decimal(p.probability, 2),
            "–"
            if math.isnan(p.probability_low)
            else f"{decimal(p.probability_low, 2)} to {decimal(p.probability_high, 2)}",
            "yes" if p.meaningful else "no",
        )
        for p in ordered
    ]
    return Table(
        "Differences",
        f"In points of validation {summary.meta.metric_words}, paired by repeat; intervals hold "
        "for all pairs and all looks together, so they are wider than those of the verdicts. "
        f"Separated: more than luck of splits, searches and seeds on these {noun}s. New {noun}s: "
        f"the same for other {noun}s of the same kind. P(A > B): one rerun of A beats one of B on "
        "the same rows; meaningful if that is at least 0.75 and its interval stays above 0.5 "
        "(Bouthillier et al. 2021).",
        (
            *("pair", "repeats", "difference", "95 %", "separated"),
            *(f"95 % new {noun}s", "holds there", "P(A > B)", "95 % of P", "meaningful"),
        ),
        tuple(rows),
    )


def study_table(summary: Summary) -> Table:
    """What was studied, and with which settings."""
    meta = summary.meta
    facts: dict[str, Any] = {
        "study": meta.name,
        "created": meta.created,
        "classes": len(meta.class_names),
        f"{meta.noun}s": sum(meta.class_counts),
        "groups": _groups(meta),
        "deep grey": _white_points(meta.white_points),
        "split": ", ".join(f"{part} {size}" for part, size in meta.split_sizes.items()),
        "runs": len(summary.records),
        "device": ", ".join(str(v) for key, v in meta.device.items() if key not in INNER and v),
        "weights": meta.weights.get("source", ""),
        "versions": "; then ".join(map(_versions, meta.versions)),
        "git commit": meta.git_commit or "",
    }
    facts |= {f"--{key.replace('_', '-')}": value for key, value in meta.settings.items()}
    rows = [(plain(key, 40), plain(str(value), 200)) for key, value in facts.items() if value != ""]
    return Table("About this study", "", ("what", "value"), tuple(rows))


def _groups(meta: StudyMeta) -> str:
    """How many there are, and what says so."""
    if not meta.data["groups"]:
        return ""
    origin = f"the column group of the {'table' if meta.noun == 'image' else 'file'}"
    if meta.settings.get("group"):
        origin = "folders inside the class folders"
    if meta.settings.get("group_pattern"):
        origin = "the file names"
    return f"{meta.data['groups']}, by {origin}"


def _white_points(points: Mapping[str, Mapping[str, float]]) -> str:
    return "; ".join(
        f"{kind} from {point['black']:.6g} (black) to {point['white']:.6g} (white) in "
        f"{point['images']} images"
        for kind, point in points.items()
    )


def _versions(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items())


def trials_table(summary: Summary) -> Table:
    """Every run with its hyperparameters; of very many the best ones."""
    guess = chance(summary.meta.metric, summary.meta.class_counts)
    short = SHORT[summary.meta.metric]
    keys = list(dict.fromkeys(key for r in summary.records for key in r.hyperparameters))
    rows = tuple(
        (
            plain(r.trial_id, 80),
            plain(r.optimizer, 40),
            r.phase.value,
            str(r.repeat),
            "" if r.bracket is None else str(r.bracket),
            "" if r.rung is None else str(r.rung),
            str(r.epochs),
            r.status.value,
            percent(score(r, guess)),
            str(r.best_epoch),
            "" if (test := r.measured.test) is None else percent(test),
            decimal(r.seconds, 2),
            *(number(r.hyperparameters[k]) if k in r.hyperparameters else "" for k in keys),
        )
        for r in listed_runs(summary.records, guess)
    )
    many = len(rows) < len(summary.records)
    return Table(
        f"The best {len(rows)} of {len(summary.records)} runs" if many else f"All {len(rows)} runs",
        "Click a column to sort. A rung of Hyperband that continues an earlier one is a line of "
        "its own. The file trials.csv has the same and more.",
        (
            *("run", "optimizer", "phase", "repeat", "bracket", "rung", "epochs", "status"),
            *(f"val {short}", "best epoch", f"test {short}", "seconds"),
            *(plain(key, 40) for key in keys),
        ),
        rows,
    )


def evaluation(summary: Summary) -> list[str]:
    """One line an optimizer, as `model.evaluate` after the last epoch would say it."""
    metric = summary.meta.metric
    return [evaluation_line(row, metric) for row in summary.rows if not math.isnan(row.last_value)]


def standings(meta: StudyMeta, records: Sequence[TrialRecord]) -> dict[str, Standing]:
    """Those of all optimizers that were confirmed."""
    answer = answer_of(meta, records)
    return {
        row.optimizer: Standing(verdict_words(answer.about(row.optimizer)), row.mean)
        for row in rank(meta, records, answer)
        if row.basis is Phase.CONFIRM
    }
