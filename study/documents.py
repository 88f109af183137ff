"""Summary -> report.md, ranking.csv and ranking.json, and the tables that every output shares.

`ranking.json` is for programs, UTF-8, no NaN (null instead), accuracies as fractions:
    schema            "optimizer-study-report/1"; a changed meaning changes the number
    study, created    name and time of the study; finished, partial: how it ended
    headline          the sentence on top
    repeats           fewest repeats of a confirmed optimizer
    ranking           best first; one object an optimizer: optimizer, confirmed (only then is it
                      ranked), place_best and place_worst (ranks it may hold), tie_groups (letters;
                      a shared letter means not separated), mean, low, high (95 %, over
                      interval_over), spread, minimum, maximum, and the other numbers of
                      `study.ranking.Row`; by_repeat; hyperparameters; other_repeats (where they
                      differ); evaluation {val_loss, val_accuracy} at the last epoch
    pairs             first, second, repeats, difference, low, high, p_value, adjusted (Holm),
                      separated, probability (P(first > second))
    tie_groups        lists of names
    warnings          {kind, text}
`ranking.csv` has the numbers of `ranking`, one line an optimizer.
"""

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from study.claims import points
from study.ranking import Row
from study.records import Phase
from study.style import plain
from study.summary import Summary
from study.winners import evaluation_line, number

SCHEMA = "optimizer-study-report/1"
NUMBERS = (
    *("mean", "low", "high", "interval_over", "spread", "minimum", "maximum", "train_accuracy"),
    *("test_accuracy", "val_loss", "last_accuracy", "last_loss", "best_epoch", "trained_epochs"),
    *("train_seconds", "trials", "epochs", "seconds_per_trial", "diverged", "failed"),
    *("confirm_diverged", "search_best"),
)


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
    """Best hyperparameters: optimizers down, knobs across."""
    knobs = list(dict.fromkeys(knob for found in summary.settings for knob in found.values))
    rows = []
    for found in summary.settings:
        cells = [plain(found.optimizer, 40)]
        for knob in knobs:
            value = plain(number(found.values[knob])) if knob in found.values else ""
            others = found.others.get(knob)
            cells.append(f"{value} ({plain(others, 60)})" if others and value else value)
        rows.append(tuple(cells))
    return Table(
        "Best hyperparameters",
        "Of the repeat whose winner did best when run again; in brackets what the winners of all "
        "repeats span.",
        ("optimizer", *(plain(knob, 40) for knob in knobs)),
        tuple(rows),
    )


def pairs_table(summary: Summary) -> Table:
    """Pairwise differences, the surest first."""
    ordered = sorted(
        summary.claims.pairs, key=lambda p: math.inf if math.isnan(p.adjusted) else p.adjusted
    )
    rows = [
        (
            f"{plain(p.first)} over {plain(p.second)}",
            points(p.difference) if not math.isnan(p.difference) else "–",
            f"{points(p.low)} to {points(p.high)}" if not math.isnan(p.low) else "–",
            decimal(p.adjusted),
            decimal(p.probability, 2),
            "yes" if p.separated else "no",
        )
        for p in ordered
    ]
    return Table(
        "Differences",
        "In points of validation accuracy, paired by repeat; interval and p-value corrected for "
        "overlapping splits (Nadeau-Bengio), the p-value also for the number of pairs (Holm). "
        "P(A > B): how often one rerun of the first beat one of the second.",
        ("pair", "difference", "95 %", "p", "P(A > B)", "separated"),
        tuple(rows),
    )


def study_table(summary: Summary) -> Table:
    """What was studied, and with which settings."""
    meta = summary.meta
    images = meta.data.get("images", meta.data.get("count", sum(meta.class_counts)))
    facts: dict[str, Any] = {
        "study": meta.name,
        "created": meta.created,
        "classes": len(meta.class_names),
        "images": images,
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


def evaluation(summary: Summary) -> list[str]:
    """One line an optimizer, as `model.evaluate` after the last epoch would say it."""
    return [evaluation_line(row) for row in summary.rows if not math.isnan(row.last_accuracy)]


def markdown(
    summary: Summary, figures: Iterable[tuple[str, str, str]], warnings: Sequence[str]
) -> str:
    """report.md; `figures` are (name, title, caption)."""
    parts = [f"# {_md(summary.meta.name)}", f"**{_md(summary.claims.headline)}**"]
    if warnings:
        parts += ["## Read this first", "\n".join(f"- {_md(text)}" for text in warnings)]
    parts += _md_table(ranking_table(summary))
    for name, title, caption in figures:
        parts += [f"## {_md(title)}", _md(caption), f"![{_md(title)}](figures/{name}.png)"]
    parts += _md_table(settings_table(summary))
    lines = "\n".join(f"    {plain(line, 200)}" for line in evaluation(summary))
    parts += ["## Evaluation on the validation set after the last epoch", lines]
    for table in (pairs_table(summary), study_table(summary)):
        parts += _md_table(table)
    return "\n\n".join(part for part in parts if part) + "\n"


def _md(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]#|<>$~])", r"\\\1", plain(text, 2000))


def _md_table(table: Table) -> list[str]:
    if not table.rows:
        return []
    lines = [table.head, tuple("---" if i == 0 else "---:" for i in range(len(table.head)))]
    text = [f"| {' | '.join(map(_md, table.head))} |", f"| {' | '.join(lines[1])} |"]
    text += [f"| {' | '.join(map(_md, row))} |" for row in table.rows]
    return [f"## {table.title}", _md(table.note), "\n".join(text)]


def ranking_csv(summary: Summary) -> str:
    """ranking.csv."""
    buffer = io.StringIO()
    head = ("optimizer", "confirmed", "place_best", "place_worst", "tie_groups", *NUMBERS)
    writer = csv.DictWriter(buffer, head, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for entry in _ranking(summary):
        writer.writerow({key: "" if value is None else value for key, value in entry.items()})
    return buffer.getvalue()


def ranking_json(summary: Summary, warnings: Iterable[tuple[str, str]]) -> str:
    """ranking.json; `warnings` are (kind, text)."""
    meta = summary.meta
    settings = {found.optimizer: found for found in summary.settings}
    ranking = []
    for row, entry in zip(summary.rows, _ranking(summary), strict=True):
        found = settings.get(row.optimizer)
        entry["by_repeat"] = {str(repeat): value for repeat, value in row.by_repeat.items()}
        entry["hyperparameters"] = dict(found.values) if found else {}
        entry["other_repeats"] = dict(found.others) if found else {}
        entry["evaluation"] = {"val_loss": row.last_loss, "val_accuracy": row.last_accuracy}
        ranking.append(entry)
    document = {
        "schema": SCHEMA,
        "study": meta.name,
        "created": meta.created,
        "finished": meta.finished,
        "partial": meta.partial,
        "headline": summary.claims.headline,
        "repeats": summary.claims.repeats,
        "ranking": ranking,
        "pairs": [pair._asdict() for pair in summary.claims.pairs],
        "tie_groups": [list(group) for group in summary.claims.groups],
        "warnings": [{"kind": kind, "text": text} for kind, text in warnings],
    }
    return json.dumps(_finite(document), indent=2, allow_nan=False) + "\n"


def _ranking(summary: Summary) -> list[dict[str, Any]]:
    ties = letters(summary)
    return [_entry(row, summary.claims.places, ties) for row in summary.rows]


def _entry(
    row: Row, places: Mapping[str, tuple[int, int]], ties: Mapping[str, str]
) -> dict[str, Any]:
    best, worst = places.get(row.optimizer, (None, None))
    entry = {
        "optimizer": row.optimizer,
        "confirmed": row.basis is Phase.CONFIRM,
        "place_best": best,
        "place_worst": worst,
        "tie_groups": ties.get(row.optimizer, ""),
    }
    return entry | {key: _finite(getattr(row, key)) for key in NUMBERS}


def _finite(value: Any) -> Any:
    """The same with None for NaN and infinities, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
