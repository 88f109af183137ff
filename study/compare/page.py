"""Several studies -> compare.html, compare.md, compare.json and its pictures.

`compare.json`: format; studies (name, data set, whether the answer is known, leader and its value,
good_enough, and against the first study on the same data: in which settings it differs, average
difference with low and high); margin; metric; headline, details, remarks; effects (one object a
line: choice, data sets, worst and best level, moves, low, high, new_low, new_high, says ("matters",
"more than luck", "within the margin", "undecided"), repeats, by_set, over, levels); across (null
for one data set: sets, placed (one object an optimizer), left_out, margin, needed, headline,
details); pairs (the first study with each other one: names of both; changes (one object an
optimizer) and average, each with first, second (values), difference, low, high (95 %, for all
optimizers and looks together), says ("differs", "within the margin", "undecided"), repeats,
verdicts (in either study); paired; good_enough (in both); reversed (pairs that both studies
separate, the other way round); differences (of settings); headline).
Values and differences are fractions, null where nothing is known.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from study.common.files import write_atomically
from study.common.metrics import WORDS
from study.common.plot_look import find_fonts
from study.common.text import as_text, join, plain, points, points_signed, some
from study.compare.figures import data_words, draw_across, draw_effects, draw_pair
from study.compare.pair import Change, StudyPair
from study.compare.several import Several, StudyLine
from study.report.data_files import finite
from study.report.figures.picture import Picture
from study.report.html import render
from study.report.markdown import markdown_table
from study.report.tables import Table, gap, percent

FORMAT = 2


class PairSection(NamedTuple):
    """The part of the page that compares two studies."""

    title: str
    headline: str
    notes: list[str]
    table: Table
    picture: Picture


def write_studies(found: Several, folder: Path) -> Path:
    """Write page, Markdown, JSON and pictures into `folder`; return the page's path."""
    title = f"{len(found.studies)} studies"
    pictures, sections = _pictures(found), pair_sections(found)
    for picture in (*pictures, *(section.picture for section in sections)):
        write_atomically(folder / f"{picture.name}.png", picture.png)
    write_atomically(folder / "compare.md", _markdown(found, title, pictures, sections))
    text = json.dumps(finite(_content(found)), indent=2, allow_nan=False)
    write_atomically(folder / "compare.json", text + "\n")
    effects, across, studies = studies_tables(found)
    page = render(
        "studies.html",
        title=title,
        headline=found.headline,
        details=found.details,
        remarks=found.remarks,
        pictures=pictures,
        effects=effects,
        across=across,
        studies=studies,
        pairs=sections,
    )
    write_atomically(folder / "compare.html", page)
    return folder / "compare.html"


def pair_sections(found: Several) -> list[PairSection]:
    """Return the sections of the first study beside each other one."""
    return [
        PairSection(
            title=" and ".join(plain(name, 60) for name in pair.names),
            headline=pair.headline,
            notes=pair_notes(pair),
            table=pair_table(pair),
            picture=draw_pair(pair, find_fonts(change.optimizer for change in pair.changes), place),
        )
        for place, pair in enumerate(found.pairs, start=1)
    ]


def _markdown(
    found: Several, title: str, pictures: Sequence[Picture], sections: Sequence[PairSection]
) -> str:
    parts = [f"# {title}", f"**{as_text(found.headline)}**"]
    parts += [as_text(text) for text in found.details]
    parts += [f"- {as_text(text)}" for text in found.remarks]
    parts += [text for picture in pictures for text in _figure(picture)]
    parts += [text for table in studies_tables(found) for text in markdown_table(table)]
    for section in sections:
        parts += [f"## {as_text(section.title)}", f"**{as_text(section.headline)}**"]
        parts += [f"- {as_text(text)}" for text in section.notes]
        parts += [*_figure(section.picture), *markdown_table(section.table)]
    return "\n\n".join(parts) + "\n"


def _figure(picture: Picture) -> tuple[str, str]:
    return f"![{as_text(picture.title)}]({picture.name}.png)", as_text(picture.caption)


def _pictures(found: Several) -> list[Picture]:
    names = [name for one in found.effects for name in (*one.data, *one.levels)]
    sets = found.across.sets if found.across is not None else ()
    fonts = find_fonts([*names, *found.optimizers, *sets])
    pictures = [draw_effects(found, fonts)] if found.effects else []
    if found.across is not None and found.across.placed:
        pictures.append(draw_across(found.across, found.optimizers, found.metric, fonts))
    return pictures


def _content(found: Several) -> dict[str, Any]:
    across = found.across
    return {
        "format": FORMAT,
        "studies": [one._asdict() for one in found.studies],
        "margin": found.margin,
        "metric": found.metric,
        "headline": found.headline,
        "details": found.details,
        "remarks": found.remarks,
        "effects": [one._asdict() for one in found.effects],
        "pairs": [_pair_content(pair) for pair in found.pairs],
        "across": None
        if across is None
        else {**across._asdict(), "placed": [one._asdict() for one in across.placed]},
    }


def _pair_content(pair: StudyPair) -> dict[str, Any]:
    average = pair.average._asdict() if pair.average else None
    changes = [change._asdict() for change in pair.changes]
    return {**pair._asdict(), "changes": changes, "average": average}


def studies_tables(found: Several) -> tuple[Table, Table, Table]:
    """Effects, the verdicts over data sets, the studies; without rows where there is nothing."""
    return effects_table(found), across_table(found), studies_table(found)


def effects_table(found: Several) -> Table:
    """One line a choice, what moves most first."""
    several = len({one.data for one in found.effects}) > 1
    rows = [
        (
            plain(one.choice, 60),
            *((data_words(one),) if several else ()),
            f"{plain(one.worst, 60)} → {plain(one.best, 60)}",
            points(one.moves),
            _bounds(one.low, one.high),
            one.says.value,
            _bounds(one.new_low, one.new_high),
            str(one.repeats),
            one.over or "–",
        )
        for one in found.effects
    ]
    return Table(
        "What moves how much",
        f"Points of validation {WORDS[found.metric]} from the worst to the best level of each "
        f"choice, as measured, paired by repeat. The 95 % bounds of all {len(rows)} lines hold "
        "together (Bonferroni) and allow for picking the worst and the best of several levels; "
        f"new: on new {found.noun}s of the same kind. Matters: certainly more than "
        f"{points(found.margin)} points; more than luck: certainly something; within the margin: "
        f"certainly no more than {points(found.margin)}. A setting is judged by the tuned winners "
        "of all optimizers.",
        (
            *("choice", *(("data",) if several else ()), "from → to", "points", "95 %", "says"),
            *("95 % new", "repeats", "what it is read from"),
        ),
        tuple(rows),
    )


def _bounds(low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"{points(low)} to {points(high)}"


def across_table(found: Several) -> Table:
    """Optimizers down, verdicts and data sets across."""
    placed = found.across.placed if found.across is not None else ()
    sets = found.across.sets if found.across is not None else ()
    rows = [
        (
            plain(one.optimizer, 40),
            one.general.value,
            gap(one.at_most_general),
            one.here.value,
            gap(one.at_most_here),
            points(one.behind),
            f"{one.rank:.1f}",
            f"{one.diverged}/{one.reruns}",
            *(percent(value) for value in one.by_set),
        )
        for one in placed
    ]
    return Table(
        "Over all data sets",
        f"Behind: on average over data sets at most so many points of {WORDS[found.metric]} behind "
        "the best, 95 %, all optimizers together (Hsu 1984); a dash: nothing can be claimed. In "
        "general: on data sets of which these are a sample, by Student's t over the sets, which "
        "stays valid where sets differ in spread (Ibragimov and Müller 2010), also when the report "
        "is read again with more sets. On these: the same for these sets only. Behind the leader "
        "and mean rank are as measured; distances of mean ranks are not judged, because they "
        "depend on which others are in the table (Benavoli et al. 2016). Right: tuned winners on "
        "each set, in percent.",
        (
            *("optimizer", "in general", "behind ≤", f"on these {len(sets)}", "behind ≤"),
            *("behind leader", "mean rank", "diverged", *(plain(name, 30) for name in sets)),
        ),
        tuple(rows),
    )


def studies_table(found: Several) -> Table:
    """One line a study: its own answer, and what changed from the first one on the same data."""
    again = any(one.differs or not math.isnan(one.difference) for one in found.studies)
    note = "Each by its own verdicts; value: the leader's, in percent."
    if again:
        note += (
            " Average difference: over the optimizers of both, this study minus the first one on "
            "the same data, in points, each with a 95 % interval of its own."
        )
    head = ("study", "data", "leader", "value", "good enough")
    more = ("differs in", "average difference", "95 %") if again else ()
    rows = [_study_row(one) + (_difference(one) if again else ()) for one in found.studies]
    return Table("The studies", note, (*head, *more), tuple(rows))


def _study_row(one: StudyLine) -> tuple[str, ...]:
    return (
        plain(one.name, 40),
        plain(one.data, 40),
        plain(one.leader, 40) or "–",
        percent(one.value),
        plain(some(one.good_enough, "optimizer"), 80) or "–",
    )


def _difference(one: StudyLine) -> tuple[str, ...]:
    known = not math.isnan(one.low)
    return (
        plain(join(one.differs), 120) or "–",
        "–" if math.isnan(one.difference) else points_signed(one.difference),
        f"{points_signed(one.low)} to {points_signed(one.high)}" if known else "–",
    )


def pair_table(found: StudyPair) -> Table:
    """Optimizers down, both studies and their difference across."""
    rows = [*found.changes, *([found.average] if found.average else [])]
    return Table(
        "Side by side",
        f"Validation {WORDS[found.metric]} in percent, mean of the confirmation runs. Difference: "
        "the second study minus the first, in points, with a 95 % interval that holds for all "
        "optimizers and looks together. Within the margin: certainly by at most "
        f"{points(found.margin)} points"
        + (", paired by repeat (same splits)." if found.paired else " (other splits: not paired)."),
        (
            *("optimizer", *(plain(n, 30) for n in found.names), "difference", "95 %", "says"),
            *(f"verdict in {plain(n, 30)}" for n in found.names),
        ),
        tuple(_row(change) for change in rows),
    )


def _row(change: Change) -> tuple[str, ...]:
    known = not math.isnan(change.low)
    low, high = points_signed(change.low), points_signed(change.high)
    return (
        plain(change.optimizer, 40),
        percent(change.first),
        percent(change.second),
        "–" if math.isnan(change.difference) else points_signed(change.difference),
        f"{low} to {high}" if known else "–",
        change.says.value if known else "–",
        *(verdict or "–" for verdict in change.verdicts),
    )


def pair_notes(found: StudyPair) -> list[str]:
    """What to know before reading the numbers."""
    texts = []
    if found.differences:
        texts.append(f"The studies differ in {join([plain(t, 120) for t in found.differences])}.")
    else:
        texts.append("The studies have the same settings.")
    for data in ("images", "rows", "data"):
        if f"other {data}" in found.differences:
            texts.append(
                f"The {data} are not the same, so a difference tells which set is easier, "
                "not which study did better."
            )
    if found.reversed:
        pairs = [f"{a} over {b}" for a, b in found.reversed]
        texts.append(f"The order turns round: the first study finds {join(pairs)}.")
    return texts
