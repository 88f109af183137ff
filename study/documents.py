"""Summary -> report.md, ranking.csv and ranking.json.

`ranking.json` is for programs, UTF-8, no NaN (null instead), accuracies as fractions:
    schema            "optimizer-study-report/2"; a changed meaning changes the number
    study, created    name and time of the study; finished, partial: how it ended
    headline          the sentence on top; details: what to know beside it
    repeats           fewest repeats of a confirmed optimizer
    margin            the smallest gap that is more than luck on these images; new_margin: on new
                      images of the same kind (null where one repeat cannot tell)
    ranking           best first; one object an optimizer: optimizer, confirmed (only then is it
                      ranked), place_best and place_worst (ranks it may hold), tie_groups (letters;
                      a shared letter means not separated), mean, low, high (95 %, over
                      interval_over), spread, minimum, maximum, and the other numbers of
                      `study.ranking.Row`; by_repeat; hyperparameters; other_repeats (where they
                      differ); evaluation {val_loss, val_accuracy} at the last epoch
    pairs             first, second, repeats, difference; on these images low, high (95 %, for all
                      pairs together), p_value (Tukey) and separated; on new ones new_low,
                      new_high, new_p_value and carries_over; probability (P(first > second))
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
from typing import Any

from study.labels import plain
from study.ranking import Row
from study.records import Phase
from study.snippet import snippet
from study.summary import Summary
from study.tables import (
    Table,
    evaluation,
    letters,
    pairs_table,
    ranking_table,
    settings_table,
    study_table,
)

SCHEMA = "optimizer-study-report/2"
NUMBERS = (
    *("mean", "low", "high", "interval_over", "spread", "minimum", "maximum", "train_accuracy"),
    *("test_accuracy", "val_loss", "last_accuracy", "last_loss", "best_epoch", "trained_epochs"),
    *("train_seconds", "trials", "epochs", "seconds_per_trial", "diverged", "failed"),
    *("confirm_diverged", "search_best"),
)


def markdown(
    summary: Summary, figures: Iterable[tuple[str, str, str]], warnings: Sequence[str]
) -> str:
    """report.md; `figures` are (name, title, caption)."""
    parts = [f"# {as_text(summary.meta.name)}", f"**{as_text(summary.headline.text)}**"]
    parts += [as_text(text) for text in summary.headline.details]
    if warnings:
        parts += ["## Read this first", "\n".join(f"- {as_text(text)}" for text in warnings)]
    parts += markdown_table(ranking_table(summary))
    for name, title, caption in figures:
        parts += [
            f"## {as_text(title)}",
            as_text(caption),
            f"![{as_text(title)}](figures/{name}.png)",
        ]
    parts += markdown_table(settings_table(summary))
    if summary.settings:
        code = snippet(summary.meta, summary.settings[0])
        indented = "".join(f"    {line}".rstrip() + "\n" for line in code.splitlines())
        parts += ["## The winner as Keras code", indented.rstrip()]
    lines = "\n".join(f"    {plain(line, 200)}" for line in evaluation(summary))
    parts += ["## Evaluation on the validation set after the last epoch", lines]
    for table in (pairs_table(summary), study_table(summary)):
        parts += markdown_table(table)
    return "\n\n".join(part for part in parts if part) + "\n"


def as_text(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]#|<>$~])", r"\\\1", plain(text, 2000))


def markdown_table(table: Table) -> list[str]:
    """Title, note and the table itself, as Markdown; nothing for an empty table."""
    if not table.rows:
        return []
    lines = [table.head, tuple("---" if i == 0 else "---:" for i in range(len(table.head)))]
    text = [f"| {' | '.join(map(as_text, table.head))} |", f"| {' | '.join(lines[1])} |"]
    text += [f"| {' | '.join(map(as_text, row))} |" for row in table.rows]
    return [f"## {table.title}", as_text(table.note), "\n".join(text)]


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
        "headline": summary.headline.text,
        "details": list(summary.headline.details),
        "repeats": summary.claims.repeats,
        "margin": summary.claims.margin,
        "new_margin": summary.claims.new_margin,
        "ranking": ranking,
        "pairs": [pair._asdict() for pair in summary.claims.pairs],
        "tie_groups": [list(group) for group in summary.claims.groups],
        "warnings": [{"kind": kind, "text": text} for kind, text in warnings],
    }
    return json.dumps(finite(document), indent=2, allow_nan=False) + "\n"


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
    return entry | {key: finite(getattr(row, key)) for key in NUMBERS}


def finite(value: Any) -> Any:
    """The same with None for NaN and infinities, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return value
