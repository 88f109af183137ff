"""Several studies -> compare.html, compare.md, compare.json and its pictures.

`compare.json`: format; studies (name, data set, whether the answer is known, leader and its value,
good_enough, and against the first study on the same data: in which settings it differs, average
difference with low and high); margin; metric; headline, details, remarks; effects (one object for
each line: choice, data sets, worst and best level, moves, low, high, says
("matters", "more than luck", "within the margin", "undecided"), repeats, by_set, over, levels, gaps
(one object for each level: behind the best, at_least, at_most, both also in general_, by_set),
median (of the optimizers, tuning only));
across (null for one data set: sets, placed (one object for each optimizer), untuned (gaps, and
gains of tuning), left_out, margin, needed, headline, details); starts (sets; found: one object for
each optimizer with its configuration to start from, tried, agree, value, behind tuning with low,
high and by_set; overall: the best of any optimizer; the configurations also as the search space
start/OPTIMIZER.toml); pairs (the first study with others: names of both; changes (one object for
each optimizer) and average, each with first, second (values), difference, low, high (95 %,
simultaneous for all optimizers and looks), says ("differs", "within the margin", "undecided"),
repeats, verdicts (in either study); paired; good_enough (in both); reversed (pairs that both
studies separate with opposite winners); differences (of settings); headline).
Values and differences are fractions, null where nothing is known.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from study.common.files import HALF_WRITTEN, sweep, write_atomically
from study.common.metrics import WORDS
from study.common.text import as_text, at_least, at_most, join, plain, points, points_signed, some
from study.compare.figures import draw_studies
from study.compare.pair import StudyPair
from study.compare.several import Several, choices_of_levels, data_words
from study.compare.starts import as_words, space_of
from study.report.data_files import finite
from study.report.figures.picture import Picture
from study.report.html import render
from study.report.markdown import markdown_figure, markdown_table
from study.report.tables import Table, bound, interval, percent

FORMAT = 3


def write_studies(found: Several, folder: Path) -> Path:
    """Write page, Markdown, JSON and pictures into `folder`; return the page's path."""
    title = f"{len(found.studies)} studies"
    pictures, of_pairs = draw_studies(found)
    sweep(folder, seconds=HALF_WRITTEN)
    for picture in (*pictures, *of_pairs):
        write_atomically(folder / f"{picture.name}.png", picture.png)
    for start in found.starts.found:
        text = space_of(start, found.starts.studies[0])
        write_atomically(folder / "start" / f"{start.optimizer}.toml", text)
    text = _markdown(found, title, pictures, of_pairs)
    write_atomically(folder / "compare.md", text)
    text = json.dumps(finite(_content(found)), indent=2, allow_nan=False)
    write_atomically(folder / "compare.json", text + "\n")
    drawn = {picture.name: picture for picture in pictures}
    figures = tuple(drawn.get(name) for name in ("effects", "levels", "across", "", "", ""))
    page = render(
        "studies.html",
        title=title,
        headline=found.headline,
        details=found.details,
        remarks=found.remarks,
        parts=list(zip(studies_tables(found), figures, strict=True)),
        pairs=[
            {
                "title": pair_title(pair),
                "headline": pair.headline,
                "notes": pair_notes(pair),
                "table": pair_table(pair),
                "picture": picture,
            }
            for pair, picture in zip(found.pairs, of_pairs, strict=True)
        ],
    )
    write_atomically(folder / "compare.html", page)
    return folder / "compare.html"


def _markdown(
    found: Several, title: str, pictures: Sequence[Picture], of_pairs: Sequence[Picture]
) -> str:
    blocks = [f"# {title}", f"**{as_text(found.headline)}**"]
    blocks += [as_text(text) for text in found.details]
    blocks += [f"- {as_text(text)}" for text in found.remarks]
    blocks += [text for picture in pictures for text in markdown_figure(picture)]
    blocks += [text for table in studies_tables(found) for text in markdown_table(table)]
    for pair, picture in zip(found.pairs, of_pairs, strict=True):
        blocks += [f"## {as_text(pair_title(pair))}", f"**{as_text(pair.headline)}**"]
        blocks += [f"- {as_text(text)}" for text in pair_notes(pair)]
        blocks += [*markdown_figure(picture), *markdown_table(pair_table(pair))]
    return "\n\n".join(blocks) + "\n"


def _content(found: Several) -> dict[str, Any]:
    across, inner = found.across, ("names", "noun", "optimizers")
    return {
        "format": FORMAT,
        **{key: value for key, value in found._asdict().items() if key not in inner},
        "studies": [one._asdict() for one in found.studies],
        "effects": [
            {**one._asdict(), "gaps": [gap._asdict() for gap in one.gaps]} for one in found.effects
        ],
        "pairs": [_pair_content(pair) for pair in found.pairs],
        "across": across
        and {
            **across._asdict(),
            "placed": [one._asdict() for one in across.placed],
            "untuned": {
                key: [one._asdict() for one in values]
                for key, values in across.untuned._asdict().items()
            },
        },
        "starts": {
            "sets": found.starts.sets,
            "found": [one._asdict() for one in found.starts.found],
            "overall": found.starts.overall and found.starts.overall._asdict(),
        },
    }


def _pair_content(pair: StudyPair) -> dict[str, Any]:
    changes = [change._asdict() for change in pair.changes]
    average = pair.average and pair.average._asdict()
    return {**pair._asdict(), "changes": changes, "average": average}


def studies_tables(found: Several) -> tuple[Table, ...]:
    """Return the tables of the page; one without content has no rows."""
    return (
        effects_table(found),
        levels_table(found),
        across_table(found),
        gains_table(found),
        start_table(found),
        studies_table(found),
    )


def effects_table(found: Several) -> Table:
    """Return a row for each choice, the largest effect first."""
    several = len({one.data for one in found.effects}) > 1
    rows = [
        (
            plain(one.choice, 60),
            *((data_words(one),) if several else ()),
            f"{plain(one.worst, 60)} → {plain(one.best, 60)}",
            points(one.moves),
            interval(one.low, one.high),
            one.says.value,
            str(one.repeats),
            one.over or "–",
        )
        for one in found.effects
    ]
    return Table(
        "What moves how much",
        f"Points of validation {WORDS[found.metric]} from the worst to the best level of each "
        "choice, as measured, paired by repeat. The 95 % bounds hold simultaneously for all "
        f"{len(rows)} lines (Bonferroni) and allow for picking the worst and the best of several "
        f"levels, on these {found.noun}s. Matters: certainly more than "
        f"{points(found.margin)} points; more than luck: certainly some effect; within the margin: "
        f"certainly no more than {points(found.margin)} points. A setting is judged by the tuned "
        "winners of all optimizers; schedule and width by good trials of the searches.",
        (
            *("choice", *(("data",) if several else ()), "from → to", "points", "95 %", "says"),
            *("repeats", "estimated from"),
        ),
        tuple(rows),
    )


def levels_table(found: Several) -> Table:
    """Return a row for each level of a choice that has several, and for each untuned optimizer."""
    choices = list(choices_of_levels(found))
    general = any(not math.isnan(one.general_at_most) for _, gaps in choices for one in gaps)
    rows = [
        (
            plain(choice, 60) if one is gaps[0] else "",
            plain(one.level, 60),
            points(one.behind),
            _between(one.at_least, one.at_most),
            *((_between(one.general_at_least, one.general_at_most),) if general else ()),
        )
        for choice, gaps in choices
        for one in gaps
    ]
    return Table(
        "Level by level",
        f"Points of validation {WORDS[found.metric]} behind the best level of the same choice: as "
        "measured, and at least to at most on these data sets"
        f"{' and in general, on data sets of this sort, at this number of sets' if general else ''}"
        ". The bounds of one choice hold together with 95 % (under What moves how much those of "
        "all choices do, so they are wider there); a dash: none is known, in general because "
        "searches of one seed try the same configurations on every set. Keras's defaults: untuned, "
        "beside the tuned optimizer that leads.",
        ("choice", "level", "behind", "95 %", *(("95 % in general",) if general else ())),
        tuple(rows),
    )


def _between(low: float, high: float) -> str:
    return "–" if math.isnan(high) else f"{at_least(max(low, 0.0))} to {at_most(high)}"


def gains_table(found: Several) -> Table:
    """Return what tuning gains over Keras's default settings, optimizer by optimizer."""
    gains = found.across.untuned.gains if found.across is not None else ()
    general = any(not math.isnan(one.general_low) for one in gains)
    sets = found.across.sets if found.across is not None else ()
    rows = [
        (
            plain(one.optimizer, 40),
            percent(one.untuned),
            _signed(one.gain),
            _signed_interval(one.low, one.high),
            *((_signed_interval(one.general_low, one.general_high),) if general else ()),
            *map(_signed, one.by_set),
        )
        for one in gains
    ]
    return Table(
        "What tuning gains",
        f"Validation {WORDS[found.metric]} of Keras's default settings in percent, mean over the "
        "data sets, and what the tuned winner has more, in points, paired by repeat. The 95 % "
        "intervals hold for all optimizers together, on these data sets"
        f"{' and in general, on data sets of this sort, at this number of sets' if general else ''}"
        ". A default run that "
        "diverged counts as a guess; winners that diverged are left out. There is one untuned run "
        "a repeat. Right: each set.",
        (
            *("optimizer", "untuned", "gain", "95 %", *(("95 % in general",) if general else ())),
            *(plain(name, 30) for name in sets),
        ),
        tuple(rows),
    )


def start_table(found: Several) -> Table:
    """Return the configuration to start from of each optimizer."""
    sets = len(found.starts.sets)
    rows = [
        (
            plain(one.optimizer, 40),
            percent(one.value),
            points_signed(one.behind),
            _signed_interval(one.low, one.high),
            points_signed(max(one.by_set)),
            f"{one.agree}/{sets}",
            as_words(one.hyperparameters),
        )
        for one in found.starts.found
    ]
    return Table(
        "A configuration to start from",
        "Of the configurations that the searches tried on every data set, the one that loses least "
        "against tuning on average, both after their last epochs; as search spaces in the folder "
        "start, for --space. Value and behind: chosen on all data sets but one and judged on that "
        "one, in percent and in points behind tuning the same optimizer, on other splits. 95 %: on "
        "data sets of this sort, for all optimizers together, by Student's t over the sets, where "
        "all choices are the one shown (in simulations some interval is false for 0 to 6 % of the "
        "collections of sets, for 13 % where configurations hardly differ). Worst set: behind "
        "tuning where it fails most. Same: how many choices are the one shown.",
        (
            *("optimizer", "value", "behind tuning", "95 % in general", "worst set", "same"),
            "configuration",
        ),
        tuple(rows),
    )


def across_table(found: Several) -> Table:
    """Return a row for each optimizer, with its verdicts and its value on each data set."""
    placed = found.across.placed if found.across is not None else ()
    sets = found.across.sets if found.across is not None else ()
    rows = [
        (
            plain(one.optimizer, 40),
            one.general.value,
            bound(one.at_most_general),
            one.here.value,
            bound(one.at_most_here),
            points(one.behind),
            points(one.worst),
            f"{one.diverged}/{one.reruns}",
            f"{one.search_diverged}/{one.trials}",
            *(percent(value) for value in one.by_set),
        )
        for one in placed
    ]
    return Table(
        "Over all data sets",
        f"Behind: at most this many points of {WORDS[found.metric]} behind the best, on average "
        "over data sets, simultaneously for all optimizers at 95 % (Hsu 1984); a dash: no bound is "
        "known. In general: on data sets of which these are a sample, by Student's t over the "
        "sets, which stays valid if sets differ in spread (Ibragimov and Müller 2010) and, in "
        "simulations, if sets are added and it is read again. On these: for these sets only. As "
        "measured: behind the leader on average, and behind the best of a set where that is most. "
        "Diverged: confirmation runs; in search: trials. Right: tuned winners on each set, in "
        "percent.",
        (
            *("optimizer", "in general", "behind ≤", f"on these {len(sets)}", "behind ≤"),
            *("behind leader", "worst set", "diverged", "in search"),
            *(plain(name, 30) for name in sets),
        ),
        tuple(rows),
    )


def studies_table(found: Several) -> Table:
    """Return a row for each study: its answer, and what changed from the first on the same data."""
    again = any(one.differs or not math.isnan(one.difference) for one in found.studies)
    note = "Each by its own verdicts. Value: the leader's, in percent."
    if again:
        note += (
            " Average difference: this study minus the first one on the same data, over the "
            "optimizers of both, in points, each with a 95 % interval of its own."
        )
    rows = [
        (
            plain(one.name, 40),
            plain(one.data, 40),
            plain(one.leader, 40) or "–",
            percent(one.value),
            plain(some(one.good_enough, "optimizer"), 80) or "–",
            plain(join(one.differs), 120) or "–",
            _signed(one.difference),
            _signed_interval(one.low, one.high),
        )
        for one in found.studies
    ]
    head = ("study", "data", "leader", "value", "good enough")
    more = ("differs in", "average difference", "95 %") if again else ()
    shown = len(head) + len(more)
    return Table("The studies", note, (*head, *more), tuple(row[:shown] for row in rows))


def _signed(value: float) -> str:
    return "–" if math.isnan(value) else points_signed(value)


def _signed_interval(low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"{points_signed(low)} to {points_signed(high)}"


def pair_title(found: StudyPair) -> str:
    """Return "A and B"."""
    return " and ".join(plain(name, 60) for name in found.names)


def pair_notes(found: StudyPair) -> list[str]:
    """Return what to know before reading the numbers."""
    texts = ["The studies have the same settings."]
    if found.differences:
        texts = [f"The studies differ in {join([plain(t, 120) for t in found.differences])}."]
    texts += [
        f"The {data} are not the same, so a difference shows which set is easier, not which study "
        "did better."
        for data in ("images", "rows", "data")
        if f"other {data}" in found.differences
    ]
    if found.reversed:
        pairs = [f"{a} over {b}" for a, b in found.reversed]
        texts.append(f"The order is reversed: the first study finds {join(pairs)}.")
    return texts


def pair_table(found: StudyPair) -> Table:
    """Return a row for each optimizer, with both studies and their difference."""
    rows = [
        (
            plain(one.optimizer, 40),
            percent(one.first),
            percent(one.second),
            _signed(one.difference),
            _signed_interval(one.low, one.high),
            "–" if math.isnan(one.low) else one.says.value,
            *(verdict or "–" for verdict in one.verdicts),
        )
        for one in (*found.changes, *filter(None, [found.average]))
    ]
    pairing = "paired by repeat (same splits)" if found.paired else "not paired (other splits)"
    return Table(
        "Side by side",
        f"Validation {WORDS[found.metric]} in percent, mean of the confirmation runs. Difference: "
        f"the second study minus the first, in points, {pairing}, with a 95 % interval that holds "
        "simultaneously for all optimizers and looks. Within the margin: certainly no more than "
        f"{points(found.margin)} points.",
        (
            *("optimizer", *(plain(n, 30) for n in found.names), "difference", "95 %", "says"),
            *(f"verdict in {plain(n, 30)}" for n in found.names),
        ),
        tuple(rows),
    )
