"""Summary -> tables of text, the same for the terminal, Markdown and HTML."""

import math
from typing import Any, NamedTuple

from study.common.text import plain
from study.records.outcomes import chance, score
from study.records.trial_record import Phase
from study.report.analysis.summary import Summary
from study.report.analysis.winners import evaluation_line
from study.report.analysis.wording import number, points


class Table(NamedTuple):
    """Text cells; the first column holds names, the others numbers."""

    title: str
    note: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def percent(value: float) -> str:
    """An accuracy in percent, without the sign; a dash for NaN."""
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def decimal(value: float, digits: int = 3) -> str:
    """A number; a dash for NaN."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def small(p_value: float) -> str:
    """A p-value, never as 0."""
    return "<0.001" if p_value < 5e-4 else decimal(p_value)


def letters(summary: Summary) -> dict[str, str]:
    """Tie groups as letters: optimizers that share one are not separated."""
    found: dict[str, str] = {}
    for place, group in enumerate(summary.claims.groups):
        letter = chr(ord("a") + place) if place < 26 else f"({place + 1})"
        for name in group:
            found[name] = found.get(name, "") + letter
    return found


def ranking_table(summary: Summary) -> Table:
    """The table of optimizers as it is printed, best first."""
    ties = letters(summary)
    rows = []
    for row in summary.rows:
        low, high = summary.claims.places.get(row.optimizer, (0, 0))
        confirmed = row.basis is Phase.CONFIRM
        rows.append(
            (
                plain(row.optimizer, 40),
                "–" if not confirmed else str(low) if low == high else f"{low}–{high}",
                ties.get(row.optimizer, "not confirmed"),
                percent(row.mean),
                f"{percent(row.low)}–{percent(row.high)}" if row.interval_over else "–",
                percent(row.test_accuracy),
                decimal(row.val_loss),
                percent(row.last_accuracy),
                decimal(row.best_epoch, 0),
                decimal(row.seconds_per_trial, 2),
                str(row.trials),
                str(row.epochs),
                str(row.diverged),
                str(row.failed),
            )
        )
    over = {row.interval_over for row in summary.rows if row.interval_over}
    return Table(
        "Ranking",
        "Accuracies in percent, of the tuned winner when it is run again (mean; best epoch unless "
        "it says last). Place: the ranks an optimizer may hold. Optimizers that share a tie letter "
        "are not separated. The 95 % interval is over "
        + ("repeats." if over == {"repeats"} else "the reruns of a single repeat."),
        (
            *("optimizer", "place", "tie", "val acc", "95 %", "test acc", "val loss", "last acc"),
            *("best epoch", "s/trial", "trials", "epochs", "diverged", "failed"),
        ),
        tuple(rows),
    )


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
    return Table(
        "Best hyperparameters",
        "Of the repeat whose winner did best when run again; in brackets what the winners of all "
        "repeats span.",
        ("optimizer", *(plain(key, 40) for key in keys)),
        tuple(rows),
    )


def pairs_table(summary: Summary) -> Table:
    """Pairwise differences, the surest first."""
    ordered = sorted(
        summary.claims.pairs, key=lambda p: math.inf if math.isnan(p.p_value) else p.p_value
    )
    rows = [
        (
            f"{plain(p.first)} over {plain(p.second)}",
            points(p.difference) if not math.isnan(p.difference) else "–",
            f"{points(p.low)} to {points(p.high)}" if not math.isnan(p.low) else "–",
            small(p.p_value),
            "yes" if p.separated else "no",
            f"{points(p.new_low)} to {points(p.new_high)}" if not math.isnan(p.new_low) else "–",
            "yes" if p.carries_over else "no",
            decimal(p.probability, 2),
        )
        for p in ordered
    ]
    return Table(
        "Differences",
        "In points of validation accuracy, paired by repeat. Intervals and p hold for all pairs "
        "together (Tukey; spread pooled over optimizers, or the pair's own where larger). "
        "Separated: more than luck of splits, searches and seeds on these images. New images: the "
        "same with the luck of which images were collected (Nadeau-Bengio). "
        "P(A > B): how often one rerun of the first beat one of the second.",
        (
            *("pair", "difference", "95 %", "p", "separated"),
            *("95 % new images", "holds there", "P(A > B)"),
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
        "images": sum(meta.class_counts),
        "split": ", ".join(f"{part} {size}" for part, size in meta.split_sizes.items()),
        "runs": len(summary.records),
        "device": ", ".join(str(value) for value in meta.device.values()),
        "weights": meta.weights.get("source", ""),
        "versions": ", ".join(f"{name} {version}" for name, version in meta.versions.items()),
        "git commit": meta.git_commit or "",
    }
    facts |= {f"--{key.replace('_', '-')}": value for key, value in meta.settings.items()}
    rows = [(plain(key, 40), plain(str(value), 200)) for key, value in facts.items() if value != ""]
    return Table("About this study", "", ("what", "value"), tuple(rows))


def trials_table(summary: Summary) -> Table:
    """Every run with its hyperparameters."""
    guess = chance(len(summary.meta.class_names))
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
            "" if r.test_accuracy is None else percent(r.test_accuracy),
            decimal(r.seconds, 2),
            *(number(r.hyperparameters[k]) if k in r.hyperparameters else "" for k in keys),
        )
        for r in summary.records
    )
    return Table(
        f"All {len(rows)} runs",
        "Click a column to sort. A rung of Hyperband that continues an earlier one is a line of "
        "its own.",
        (
            *("run", "optimizer", "phase", "repeat", "bracket", "rung", "epochs", "status"),
            *("val acc", "best epoch", "test acc", "seconds"),
            *(plain(key, 40) for key in keys),
        ),
        rows,
    )


def evaluation(summary: Summary) -> list[str]:
    """One line an optimizer, as `model.evaluate` after the last epoch would say it."""
    return [evaluation_line(row) for row in summary.rows if not math.isnan(row.last_accuracy)]
