"""Tables of text from a summary, the same for the terminal, Markdown and HTML."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from study.common.metrics import ACCURACY, PLURAL, SHORT
from study.common.text import at_most, counted, number, plain, points
from study.records.outcomes import chance, score
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase, TrialRecord
from study.report.analysis.ranking import rank
from study.report.analysis.summary import Summary
from study.report.analysis.winners import WinnerSettings, evaluation_line
from study.verdicts.answer import Standing
from study.verdicts.judge import answer_of

INNER = ("widths", "rounding")  # internal keys of `StudyMeta.device`
MOST_LISTED = 1000  # runs of a page, which is to open at once on a phone, too


class Table(NamedTuple):
    """Text cells; the first column holds names, the others numbers. Without a head: a sentence."""

    title: str
    note: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def heading(meta: StudyMeta) -> str:
    """Return the name of a study and what it compared on which data."""
    data = meta.data["folder" if meta.noun == "image" else "file"]
    return (
        f"{plain(meta.name, 200)}: {counted(len(meta.optimizers), 'optimizer')} on "
        f"{counted(sum(meta.class_counts), meta.noun)}, {len(meta.class_names)} classes "
        f"({plain(data, 60)})"
    )


def ranking_table(summary: Summary) -> Table:
    """Return the ranking, best optimizer first."""
    return _without_empty(_whole_ranking(summary))


def _without_empty(table: Table) -> Table:
    """Return a table without columns in which nothing but 0 or a dash stands."""
    columns = list(zip(table.head, *table.rows, strict=True))
    kept = [columns[0], *(c for c in columns[1:] if set(c[1:]) - {"0", "–", ""})]
    head, *rows = zip(*kept, strict=True)
    return table._replace(head=head, rows=tuple(rows))


def _whole_ranking(summary: Summary) -> Table:
    metric, noun = summary.meta.metric, summary.meta.noun
    both = metric != ACCURACY  # accuracy has columns of its own then
    missed = any(one.collapsed for one in summary.answer.optimizers)
    rows = []
    for row in summary.rows:
        one = summary.answer.about(row.optimizer)
        confirmed = row.basis is Phase.CONFIRM
        rows.append(
            (
                plain(row.optimizer, 40),
                one.words if confirmed else "not confirmed",
                bound(one.at_most_behind),
                bound(one.at_most_behind_new_images),
                percent(row.mean),
                percent(row.test_value),
                *((percent(row.val_accuracy), percent(row.test_accuracy)) if both else ()),
                f"{one.diverged}/{one.reruns}" if confirmed else "–",
                *((f"{one.collapsed}/{one.repeats}" if confirmed else "–",) if missed else ()),
                str(row.diverged),
                str(row.failed),
                str(one.repeats),
                decimal(row.val_loss),
                percent(row.last_value),
                decimal(row.best_epoch, 0),
                decimal(row.seconds_per_trial, 2),
                str(row.trials),
                str(row.epochs),
            )
        )
    margin, short = points(summary.answer.margin), SHORT[metric]
    bounds = [{row[place] for row in rows} for place in (2, 3)]
    dashes = any("–" in column and len(column) > 1 for column in bounds)
    trials_lost = any(row.diverged for row in summary.rows)
    return Table(
        "Ranking",
        f"Good enough: at most {margin} points behind the best, and no confirmation run diverged. "
        "Excluded: another optimizer is certainly ahead, by however little. Not pursued: neither, "
        "and the answer did not need more repeats of it. Behind: at most this "
        "many points behind the best; all bounds hold simultaneously with 95 % confidence. "
        + (f"New: the same on new {noun}s of the same kind. " if bounds[1] - {"–"} else "")
        + ("A dash: no bound is known, except that no optimizer exceeds 100 %. " if dashes else "")
        + f"{PLURAL[metric]} in percent, means over the confirmation runs; "
        f"val {short} is adjusted to the leader's repeats. "
        f"{'Acc: accuracy at the best epoch. ' if both else ''}"
        f"{'Missed: repeats that ended far below the others. ' if missed else ''}"
        f"Diverged counts confirmation runs{', search diverged trials' if trials_lost else ''}.",
        (
            *("optimizer", "verdict", "behind ≤", "new ≤", f"val {short}", f"test {short}"),
            *(("val acc", "test acc") if both else ()),
            *("diverged", *(("missed",) if missed else ()), "search diverged", "failed"),
            *("repeats", "val loss", f"last {short}", "best epoch", "s/trial", "trials", "epochs"),
        ),
        tuple(rows),
    )


def verdict_table(summary: Summary) -> Table:
    """Return the columns of the ranking that fit into a terminal and a notebook."""
    whole = _whole_ranking(summary)
    places = (*range(6), whole.head.index("repeats"))
    head, *rows = (tuple(row[p] for p in places) for row in (whole.head, *whole.rows))
    return whole._replace(head=head, rows=tuple(rows))


def settings_table(summary: Summary) -> Table:
    """Return the best hyperparameters by optimizer and key, the longer side downwards."""
    keys = list(dict.fromkeys(key for found in summary.settings for key in found.values))
    columns = {key: [_setting(found, key) for found in summary.settings] for key in keys}
    same = [key for key, cells in columns.items() if len(cells) > 1 and len(set(cells)) == 1]
    common = [f"{plain(key, 40)} {columns.pop(key)[0]}" for key in same]
    names = [plain(found.optimizer, 40) for found in summary.settings]
    rows = list(zip(names, *columns.values(), strict=True))
    title = "Typical hyperparameters of the winners"
    note = (
        "Those of a typical winner: the repeat in the middle, not the luckiest one. In brackets: "
        "the range over the winners of all repeats."
    )
    if not _confirmed(summary):
        title = "Hyperparameters of the best single runs"
        note = "No winner has a confirmation run."
    if common:
        note += f" The same for all: {', '.join(common)}."
    head = ("optimizer", *(plain(key, 40) for key in columns))
    if len(columns) > len(rows):
        head, *rows = zip(("hyperparameter", *head[1:]), *rows, strict=True)
    return Table(title, note, head, tuple(rows))


def _setting(found: WinnerSettings, key: str) -> str:
    """Return a winner's value of a hyperparameter, and the range over all repeats."""
    if key not in found.values:
        return ""
    value, others = plain(number(found.values[key], 3)), found.others.get(key)
    return f"{value} ({plain(others, 60)})" if others else value


def code_title(summary: Summary) -> str:
    """Return the title of the printed code."""
    return f"The {'winner' if _confirmed(summary) else 'best single run'} as Keras code"


def _confirmed(summary: Summary) -> bool:
    return any(found.run.phase is Phase.CONFIRM for found in summary.settings)


def robustness_table(summary: Summary) -> Table:
    """Return what random configurations reach, and how soon the winner is there."""
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
    drawn = (
        "Random settings: configurations drawn at random from the search space and trained to the "
        "end (one that diverged scores at chance); half reach the median or more, nine in ten the "
        "worst tenth or more. "
    )
    table = Table(
        "Robustness and cost",
        (drawn if any(one.draws for one in summary.robustness) else "")
        + "Diverged: of all configurations drawn at random, with the 95 % interval of their share. "
        "Epochs, seconds: until a confirmation run of the winner is within "
        f"{points(summary.answer.margin)} points of its own best.",
        (
            *("optimizer", f"median {summary.meta.metric_words} of random settings (%)"),
            *("worst tenth (%)", "random settings", "diverged", "diverged, 95 % CI (%)"),
            "epochs to the margin",
            "seconds",
        ),
        tuple(rows),
    )
    return _without_empty(table)


def pairs_table(summary: Summary) -> Table:
    """Return the differences of the pairs that are separated on these images, surest first."""
    noun = summary.meta.noun
    ordered = sorted(
        (pair for pair in summary.pairs if pair.separated),
        key=lambda p: -abs(p.difference) / (p.high - p.low) if p.high > p.low else math.inf,
    )
    rows = [
        (
            f"{plain(p.first)} over {plain(p.second)}",
            str(p.repeats),
            gap(p.difference),
            interval(p.low, p.high),
            interval(p.new_low, p.new_high),
            "yes" if p.carries_over else "no",
            decimal(p.probability, 2),
            "–"
            if math.isnan(p.probability_low)
            else f"{decimal(p.probability_low, 2)} to {decimal(p.probability_high, 2)}",
            "yes" if p.meaningful else "no",
        )
        for p in ordered
    ]
    title, total = "Separated pairs", len(summary.pairs)
    if not rows and summary.answer.looked and total > 1:
        sentence = (
            f"No pair is separated when all {total} are judged together; the verdicts compare "
            "fewer pairs."
        )
        return Table(title, sentence, (), ())
    return Table(
        title,
        f"In points of validation {summary.meta.metric_words}, paired by repeat. The intervals "
        "hold simultaneously for all pairs and all planned looks (interim analyses), so they are "
        f"wider than those of the verdicts. These pairs are separated: on these {noun}s the "
        "difference is more than chance in splits, searches and seeds explains; ranking.json has "
        "all pairs. Carries over: the same holds on new "
        f"{noun}s of the same kind. P(A > B): the probability that a confirmation run of A beats "
        "one of B on the same rows; meaningful if it is at least 0.75 and its interval stays above "
        "0.5 (Bouthillier et al. 2021).",
        (
            *("pair", "repeats", "difference", "95 %"),
            *(f"95 % new {noun}s", "carries over", "P(A > B)", "95 % of P", "meaningful"),
        ),
        tuple(rows),
    )


def study_table(summary: Summary) -> Table:
    """Return the facts and the settings of the study."""
    meta = summary.meta
    facts: dict[str, Any] = {
        "study": meta.name,
        "created": meta.created,
        "classes": len(meta.class_names),
        f"{meta.noun}s": sum(meta.class_counts),
        "groups": _groups(meta),
        "sample weights": meta.sample_weight.partition(": ")[2],
        "16/32-bit grey": _white_points(meta.white_points),
        "split": ", ".join(f"{part} {size}" for part, size in meta.split_sizes.items()),
        "runs": len(summary.records),
        "device": ", ".join(str(v) for key, v in meta.device.items() if key not in INNER and v),
        "weights": meta.weights.get("source", ""),
        "versions": "; then ".join(
            ", ".join(f"{name} {version}" for name, version in found.items())
            for found in meta.versions
        ),
        "git commit": meta.git_commit or "",
    }
    facts |= {f"--{key.replace('_', '-')}": value for key, value in meta.settings.items()}
    rows = [(plain(key, 40), plain(str(value), 200)) for key, value in facts.items() if value != ""]
    return Table("About this study", "", ("what", "value"), tuple(rows))


def _groups(meta: StudyMeta) -> str:
    """Return the number of groups and where they come from; "" without groups."""
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


def trials_table(summary: Summary) -> Table:
    """Return every run with its hyperparameters; of very many runs only the best."""
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
            *(number(r.hyperparameters[k], 3) if k in r.hyperparameters else "" for k in keys),
        )
        for r in listed_runs(summary.records, guess)
    )
    many = len(rows) < len(summary.records)
    table = Table(
        f"The best {len(rows)} of {len(summary.records)} runs" if many else f"All {len(rows)} runs",
        "The best validation value comes first. Those of a search are the best of many and "
        "therefore too high; only confirmation runs (phase confirm) are ranked. Click the head of "
        "a column to sort. A rung of Hyperband that continues an earlier one has "
        "a line of its own. The file trials.csv has every run and more.",
        (
            *("run", "optimizer", "phase", "repeat", "bracket", "rung", "epochs", "status"),
            *(f"val {short}", "best epoch", f"test {short}", "seconds"),
            *(plain(key, 40) for key in keys),
        ),
        rows,
    )
    return _without_empty(table)


def listed_runs(
    records: Sequence[TrialRecord], guess: float, most: int = MOST_LISTED
) -> list[TrialRecord]:
    """Return the best records, those without a value last.

    Args:
        records: all runs of a study.
        guess: the score of a diverged run.
        most: the number of runs that a page has room for.
    """

    def order(record: TrialRecord) -> tuple[bool, float]:
        value = round(score(record, guess), 6)  # equal ones keep their order
        return math.isnan(value), -value

    return sorted(records, key=order)[:most]


def evaluation(summary: Summary) -> list[str]:
    """Return a line for each optimizer, like that of `model.evaluate` after the last epoch."""
    metric = summary.meta.metric
    return [evaluation_line(row, metric) for row in summary.rows if not math.isnan(row.last_value)]


def standings(meta: StudyMeta, records: Sequence[TrialRecord]) -> dict[str, Standing]:
    """Return the verdict, mean and bounds of every optimizer that was confirmed."""
    answer = answer_of(meta, records)
    found = {}
    for row in rank(meta, records, answer):
        if row.basis is Phase.CONFIRM:
            one = answer.about(row.optimizer)
            bounds = (one.at_most_behind, one.at_most_behind_new_images)
            shown = (None if value is None else float(at_most(value)) for value in bounds)
            found[row.optimizer] = Standing(one.words.value, row.mean, *shown)
    return found


def percent(value: float) -> str:
    """Return a fraction in percent, without the sign; a dash for NaN."""
    return "–" if math.isnan(value) else points(value)


def decimal(value: float, digits: int = 3) -> str:
    """Return a number, halves away from 0 as in `points`; a dash for NaN."""
    return "–" if math.isnan(value) else f"{value + math.copysign(1e-9, value):.{digits}f}"


def gap(value: float | None) -> str:
    """Return a difference in points; a dash where no bound is known."""
    return "–" if value is None or math.isnan(value) else points(value)


def bound(value: float | None) -> str:
    """Return an upper bound in points, rounded up; a dash where none is known."""
    return "–" if value is None or math.isnan(value) else at_most(value)


def interval(low: float, high: float) -> str:
    """Return "1.0 to 2.0", in points; a dash where no bound is known."""
    return "–" if math.isnan(low) else f"{points(low)} to {points(high)}"
