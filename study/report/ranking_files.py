"""Summary -> ranking.csv and ranking.json."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from study.records.trial_record import Phase
from study.report.analysis.ranking import Row
from study.report.analysis.summary import Summary
from study.report.tables import letters

SCHEMA = "optimizer-study-report/2"
NUMBERS = (
    *("mean", "low", "high", "interval_over", "spread", "minimum", "maximum", "train_accuracy"),
    *("test_accuracy", "val_loss", "last_accuracy", "last_loss", "best_epoch", "trained_epochs"),
    *("train_seconds", "trials", "epochs", "seconds_per_trial", "diverged", "failed"),
    *("confirm_diverged", "search_best"),
)


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
