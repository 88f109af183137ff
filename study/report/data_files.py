"""Files for other programs: ranking.json, ranking.csv and trials.csv.

`ranking.json` is UTF-8, with null for NaN, values and differences as fractions:
    format            2; a changed meaning changes the number
    study, created    name and time of the study; finished, partial: how it ended; metric
    headline          the sentence on top; details: what to know besides; next: what to do
    answer            asked (the names whose verdicts are the question; empty: which may be used),
                      known (the question is answered), margin, leader, good_enough, excluded,
                      undecided, no_verdict, not_pursued (lists of names), looks ({repeats, alpha,
                      reached}), reason (why it is known, or why not), reached (by the leader:
                      value, and its 95 % interval on new images low, high)
    ranking           one object for each optimizer, by verdict, then by bound: optimizer, confirmed
                      (only then is it judged), verdict ("good enough", "excluded", "undecided",
                      "not pursued", "no verdict"), at_most_behind (the best, on these images) and
                      at_most_behind_new_images (null where no bound is known), behind (the
                      leader, as measured), excluded_by
                      and at_least_behind, repeats, reruns (confirmation runs), reruns_diverged
                      with the 95 % interval of its share (reruns_diverged_low, _high), collapsed
                      (repeats far below the others) with its own; mean, low, high
                      (95 % over interval_over), spread and the other numbers of
                      `analysis.ranking.Row`; by_repeat; hyperparameters (of a typical winner);
                      other_repeats (where they differ); evaluation {val_loss, val_accuracy or
                      another metric} at the last epoch
    pairs             first, second, repeats, difference; on these images low, high (95 %,
                      simultaneous for all pairs and looks) and separated; on new images new_low,
                      new_high and carries_over; probability (P(first > second)) with its interval,
                      meaningful
    warnings          {kind, text}
    citation          paragraphs for a paper: data, budget, margin, bounds, references

`ranking.csv` has the numbers of `ranking`, a line for each optimizer. `trials.csv` has a line for
each run of any phase: values as fractions; `val_accuracy`, `val_loss`, `accuracy` and `loss` at the
best epoch, the same with `last_` at the last epoch; `cross_fitted_accuracy`, by which confirmation
runs are judged; the same columns of the study's metric if it is another one; and a column for each
hyperparameter, empty for a run without it.
"""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from study.common.metrics import ACCURACY
from study.records.trial_record import Phase, TrialRecord
from study.report.analysis.ranking import Row
from study.report.analysis.summary import Summary
from study.verdicts.answer import Judged, Verdict

FORMAT = 2
JUDGED = (
    *("verdict", "at_most_behind", "at_most_behind_new_images", "behind", "excluded_by"),
    *("at_least_behind", "repeats", "reruns"),
)
EXTRA = (
    *("reruns_diverged", "reruns_diverged_low", "reruns_diverged_high"),
    *("collapsed", "collapsed_low", "collapsed_high"),
)
NUMBERS = (  # of a `Row`
    *("mean", "low", "high", "interval_over", "spread", "minimum", "maximum", "train_value"),
    *("test_value", "val_loss", "last_value", "last_loss", "best_epoch", "trained_epochs"),
    *("train_seconds", "trials", "epochs", "seconds_per_trial", "diverged", "failed"),
    "search_best",
)
OF_ACCURACY = ("val_accuracy", "test_accuracy")  # of a `Row`, where the metric is another one

OF_RUN = (
    *("trial_id", "optimizer", "phase", "repeat", "search", "number", "bracket", "rung"),
    *("continues", "initial_epoch", "confirm", "budget", "status", "epochs", "best_epoch"),
)
AT_BEST = ("val_accuracy", "val_loss", "accuracy", "loss")
AT_LAST = ("val_accuracy", "val_loss")
ALSO = ("cross_fitted_accuracy", "test_accuracy", "test_loss", "seconds", "seed", "split")
COLUMNS = (*OF_RUN, *AT_BEST, *(f"last_{key}" for key in AT_LAST), *ALSO, "message")


def flat_trials(records: Iterable[TrialRecord]) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the columns of trials.csv and a row for each run; None where there is no value."""
    rows = [_row(record) for record in records]
    return list(dict.fromkeys([*COLUMNS, *(key for row in rows for key in row)])), rows


def _row(record: TrialRecord) -> dict[str, Any]:
    row = {key: getattr(record, key) for key in (*OF_RUN, *ALSO, "message")}
    row |= {"phase": record.phase.value, "status": record.status.value}
    if record.loss:
        best = max(record.best_epoch, 1) - 1
        row |= {key: getattr(record, key)[best] for key in AT_BEST}
        row |= {f"last_{key}": getattr(record, key)[-1] for key in AT_LAST}
    if record.metric != ACCURACY:
        row |= _of_metric(record)
    for key, value in record.hyperparameters.items():
        row[f"hyperparameter_{key}" if key in COLUMNS or key in row else key] = value
    return row


def _of_metric(record: TrialRecord) -> dict[str, Any]:
    found, metric = record.measured, record.metric
    return {
        f"val_{metric}": record.best_value,
        metric: record.at_best(found.train),
        f"last_val_{metric}": found.validation[-1] if found.validation else None,
        f"cross_fitted_{metric}": found.cross_fitted,
        f"test_{metric}": found.test,
    }


def ranking_head(metric: str) -> tuple[str, ...]:
    """Return the columns of ranking.csv."""
    return ("optimizer", "confirmed", *JUDGED, *EXTRA, *_numbers(metric))


def _numbers(metric: str) -> dict[str, str]:
    """Return the field of a `Row` by column: "test_accuracy" is `test_value`, of accuracy."""
    fields = NUMBERS if metric == ACCURACY else (*NUMBERS, *OF_ACCURACY)
    return {name.replace("_value", f"_{metric}"): name for name in fields}


def ranking_json(summary: Summary, warnings: Iterable[tuple[str, str]]) -> str:
    """Return ranking.json; `warnings` are (kind, text)."""
    meta = summary.meta
    settings = {found.optimizer: found for found in summary.settings}
    ranking = []
    for row, entry in zip(summary.rows, ranking_rows(summary), strict=True):
        found = settings.get(row.optimizer)
        entry["by_repeat"] = {str(repeat): value for repeat, value in row.by_repeat.items()}
        entry["hyperparameters"] = dict(found.values) if found else {}
        entry["other_repeats"] = dict(found.others) if found else {}
        entry["evaluation"] = {"val_loss": row.last_loss, f"val_{meta.metric}": row.last_value}
        ranking.append(entry)
    document = {
        "format": FORMAT,
        "study": meta.name,
        "metric": meta.metric,
        "created": meta.created,
        "finished": meta.finished,
        "partial": meta.partial,
        "headline": summary.headline.text,
        "details": list(summary.headline.details),
        "next": [step._asdict() for step in summary.headline.next],
        "answer": _answer(summary),
        "ranking": ranking,
        "pairs": [pair._asdict() for pair in summary.pairs],
        "warnings": [{"kind": kind, "text": text} for kind, text in warnings],
        "citation": list(summary.citation),
    }
    return json.dumps(finite(document), indent=2, allow_nan=False) + "\n"


def _answer(summary: Summary) -> dict[str, Any]:
    answer = summary.answer

    def names(verdict: Verdict) -> list[str]:
        return [one.optimizer for one in answer.of(verdict)]

    return {
        "asked": list(answer.asked),
        "known": answer.known,
        "margin": answer.margin,
        "leader": answer.leader or None,
        "good_enough": names(Verdict.GOOD_ENOUGH),
        "excluded": names(Verdict.EXCLUDED),
        "undecided": names(Verdict.UNDECIDED),
        "no_verdict": names(Verdict.NONE),
        "not_pursued": names(Verdict.NOT_PURSUED),
        "looks": [
            {"repeats": look.repeats, "alpha": look.alpha, "reached": number <= answer.looked}
            for number, look in enumerate(answer.looks, start=1)
        ],
        "reason": summary.headline.reason,
        "reached": dict(zip(("value", "low", "high"), answer.reached, strict=True)),
    }


def ranking_rows(summary: Summary) -> list[dict[str, Any]]:
    """Return a row for each optimizer with the columns of `ranking_head`; None where unknown."""
    columns = _numbers(summary.meta.metric)
    return [_entry(row, summary.answer.about(row.optimizer), columns) for row in summary.rows]


def _entry(row: Row, one: Judged, columns: Mapping[str, str]) -> dict[str, Any]:
    entry = {"optimizer": row.optimizer, "confirmed": row.basis is Phase.CONFIRM}
    entry |= {key: finite(getattr(one, key)) for key in JUDGED} | {"verdict": one.words}
    extra = (one.diverged, *one.diverging, one.collapsed, *one.collapsing)
    entry |= dict(zip(EXTRA, extra, strict=True))
    return entry | {key: finite(getattr(row, name)) for key, name in columns.items()}


def finite(value: Any) -> Any:
    """Return `value` with None for NaN and infinities, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return value
