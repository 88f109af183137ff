"""Summaries of two or more studies -> everything that their common page says."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from study.common.text import counted, join, plain, points, some
from study.compare.across_sets import Across, across_sets
from study.compare.choices import TUNING, chosen_settings, differing
from study.compare.data_sets import (
    DataSet,
    all_optimizers,
    data_sets,
    is_same,
    shared_repeats,
    with_results,
)
from study.compare.effects import OPTIMIZER, Effect, effects
from study.compare.gaps import Gap
from study.compare.pair import StudyPair, check_metrics, pair_of
from study.compare.searches import ALWAYS
from study.compare.starts import Starts, starting_points
from study.compare.untuned import DEFAULTS
from study.records.trial_record import Phase
from study.report.analysis.summary import Summary
from study.verdicts.answer import Verdict
from study.verdicts.looks import ALPHA, FEWEST_REPEATS

FEW_LEVELS = 3  # of a choice; of fewer, its line says all
NAMED = 2  # data sets that the name of a line lists
SCOPES = 3  # combinations of data sets with a sentence of their own on top


class StudyLine(NamedTuple):
    """One study among several; the first of its data set has no differences (empty, NaN)."""

    name: str
    data: str
    known: bool
    leader: str
    value: float  # of the leader
    good_enough: tuple[str, ...]
    differs: tuple[str, ...]  # settings that differ from the first study on the same data
    difference: float  # from that study, mean over the optimizers of both
    low: float
    high: float


class Several(NamedTuple):
    """Two or more studies."""

    names: tuple[str, ...]
    studies: tuple[StudyLine, ...]
    effects: tuple[Effect, ...]  # the largest first
    across: Across | None  # of two or more data sets
    starts: Starts
    margin: float  # of the first study
    metric: str  # of all
    noun: str  # "image", "row", or "example" for studies of both
    headline: str
    details: tuple[str, ...]
    remarks: tuple[str, ...]  # to know before reading the numbers
    optimizers: tuple[str, ...]  # in the order of the search spaces, which gives the colours
    pairs: tuple[StudyPair, ...]  # the first study with others, see `_beside`


def several_studies(studies: Sequence[Summary]) -> Several:
    """Return effects of settings, tuning and optimizer, verdicts over data sets, and pairs.

    Raises:
        UserError: two studies are judged by different metrics.
    """
    check_metrics([one.meta for one in studies])
    first = studies[0]
    used: list[Summary] = []
    for one in filter(with_results, studies):
        if not any(is_same(before, one) for before in used):
            used.append(one)
    sets = data_sets(used)
    margin = first.answer.margin
    alpha = min((look.alpha for one in used for look in one.answer.looks), default=ALPHA)
    lines = tuple(effects(sets, alpha=alpha, margin=margin))
    across = across_sets(sets, alpha=alpha, margin=margin)
    texts = tuple(_effect_sentences(lines, sets))
    headline = " ".join(texts) or "Nothing is confirmed in all of these studies."
    details: tuple[str, ...] = ()
    if across:
        headline, details = across.headline, texts + across.details
    return Several(
        names=tuple(one.meta.name for one in studies),
        studies=tuple(_line(one, data) for data in data_sets(studies) for one in data.studies),
        effects=lines,
        across=across,
        starts=starting_points(sets),
        margin=margin,
        metric=first.meta.metric,
        noun=first.meta.noun if len({one.meta.noun for one in studies}) == 1 else "example",
        headline=headline,
        details=details,
        remarks=tuple(_remarks(studies, sets, across)),
        optimizers=tuple(all_optimizers(studies)),
        pairs=tuple(pair_of(first, other) for other in _beside(studies)),
    )


def _beside(studies: Sequence[Summary]) -> list[Summary]:
    """Return the studies to compare with the first: of two the other, of more those of its data.

    That one data set is easier than another says nothing about optimizers.
    """
    first, *others = studies
    data = first.meta.data["fingerprint"]
    return [one for one in others if len(others) == 1 or one.meta.data["fingerprint"] == data]


def choices_of_levels(found: Several) -> Iterator[tuple[str, tuple[Gap, ...]]]:
    """Yield (choice, its levels) for each choice that has so many that one line says too little."""
    several = len({one.data for one in found.effects}) > 1
    for one in found.effects:
        if one.choice != OPTIMIZER and len(one.gaps) >= FEW_LEVELS:
            yield f"{one.choice} ({data_words(one)})" if several else one.choice, one.gaps
    if found.across is not None and found.across.untuned.gaps:
        yield DEFAULTS, found.across.untuned.gaps


def data_words(one: Effect) -> str:
    """Return the data sets of a line in words."""
    few = len(one.data) <= NAMED
    return join([plain(name, 30) for name in one.data]) if few else f"{len(one.data)} data sets"


def _line(study: Summary, data: DataSet) -> StudyLine:
    before = data.studies[0]
    differs: list[str] = []
    average = None
    if before is not study:
        differs = differing(*chosen_settings([before.meta, study.meta]))
        found = pair_of(before, study)
        average = found.average or next(iter(found.changes), None)
    leader = study.answer.leader
    values = {row.optimizer: row.mean for row in study.rows}
    return StudyLine(
        name=study.meta.name,
        data=data.name,
        known=study.answer.known,
        leader=leader,
        value=values.get(leader, math.nan),
        good_enough=tuple(one.optimizer for one in study.answer.of(Verdict.GOOD_ENOUGH)),
        differs=tuple(differs),
        difference=average.difference if average else math.nan,
        low=average.low if average else math.nan,
        high=average.high if average else math.nan,
    )


def _effect_sentences(lines: Sequence[Effect], sets: Sequence[DataSet]) -> Iterator[str]:
    """Yield a sentence on the choices for each scope (data sets); scopes with settings first."""
    scopes = dict.fromkeys(one.data for one in lines)
    always = (OPTIMIZER, TUNING, *ALWAYS)
    with_settings = {one.data for one in lines if one.choice not in always}
    for scope in sorted(scopes, key=lambda scope: scope not in with_settings)[:SCOPES]:
        yield _side_by_side([one for one in lines if one.data == scope], several=len(sets) > 1)


def _side_by_side(lines: Sequence[Effect], *, several: bool) -> str:
    """Return how much each choice moves, and whether the optimizer certainly matters more."""
    where = ""
    if len(lines[0].data) > 2:
        where = f" over {len(lines[0].data)} data sets"
    elif several:
        where = f" on {join(lines[0].data)}"
    texts = [
        f"{one.choice} {points(one.moves)}{'' if place else ' points'}{_bounded(one)}"
        for place, one in enumerate(lines)
    ]
    text = f"From the worst to the best choice{where}: {', '.join(texts)}."
    optimizer = next((one for one in lines if one.choice == OPTIMIZER), None)
    if optimizer is None or math.isnan(optimizer.high) or len(lines) < 2:
        return text
    larger = [one for one in lines if one.low > optimizer.high]
    few = [one.choice for one in larger if one.median <= optimizer.high]  # due to a few optimizers
    more = [one.choice for one in larger if one.choice not in few]
    less = [one.choice for one in lines if one.high < optimizer.low]
    if few:
        text += f" On average {join(few)} certainly matters more, but not for most optimizers."
    if more:
        text += f" Which optimizer is used certainly matters less than {join(more)}."
    if less:
        text += f" Which optimizer is used certainly matters more than {join(less)}."
    if not larger and not less:
        text += " Whether the optimizer matters more or less than the others is not certain."
    return text


def _bounded(one: Effect) -> str:
    texts = [] if math.isnan(one.low) else [f"{points(one.low)} to {points(one.high)}"]
    if not math.isnan(one.median):
        texts.append(f"median optimizer {points(one.median)}")
    return f" ({'; '.join(texts)})" if texts else ""


def _remarks(
    studies: Sequence[Summary], sets: Sequence[DataSet], across: Across | None
) -> Iterator[str]:
    without = [one.meta.name for one in studies if not with_results(one)]
    if without:
        yield f"Only listed: {join(without)}, without a confirmed result."
    for place, one in enumerate(studies):
        before = (other for other in studies[:place] if any(shared_repeats(other, one).values()))
        if (twin := next(before, None)) is not None:
            shared = shared_repeats(twin, one)
            repeats = sum(map(len, shared.values()))
            yield (
                f"{one.meta.name} has the same runs as {twin.meta.name} in "
                f"{counted(repeats, 'repeat')} of {some(list(shared), 'optimizer')} (one is a "
                "copy, or both are of one seed): nothing is concluded from them."
            )
    for data in sets:
        if len(data.blocks) > 1:
            names = [join([s.meta.name for s in block.studies]) for block in data.blocks]
            yield (
                f"{join(names)} have the same data ({data.name}) on different splits (another seed "
                "or other split fractions), so effects of settings are not estimated between them; "
                "the section on such a pair compares two samples."
            )
        few = [one for one in data.studies if _most_repeats(one) < FEWEST_REPEATS]
        if few:
            yield (
                f"{join([s.meta.name for s in few])}: fewer than {FEWEST_REPEATS} repeats, too "
                "few for a conclusion."
            )
    folders = [(one.studies[0].meta.data.get("folder"), one) for one in sets]
    for folder in dict.fromkeys(name for name, _ in folders if name):
        same = [one.name for name, one in folders if name == folder]
        if len(same) > 1:
            yield (
                f"{join(same)} come from folders of the same name, {plain(str(folder), 60)}, but "
                "their data differ: images that they share count twice."
            )
    if across is not None and across.left_out:
        yield (
            f"Not compared over data sets: {join(across.left_out)}, because not every study has "
            "enough results of the same code."
        )
    if across is not None and len({s.meta.space["fingerprint"] for s in studies}) > 1:
        yield (
            "The studies have different search spaces: over data sets each optimizer is compared "
            "as it was tuned there."
        )


def _most_repeats(study: Summary) -> int:
    return max(len(row.by_repeat) for row in study.rows if row.basis is Phase.CONFIRM)
