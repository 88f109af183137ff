"""Claims -> the sentence on top, which names the consequence, and what to know beside it."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from study.records.trial_record import Phase
from study.report.analysis.comparisons import Claims, Pair
from study.report.analysis.ranking import Row
from study.report.analysis.statistics import repeats_needed
from study.report.analysis.wording import join, points

FEWEST_REPEATS = 5  # what to ask for where there are too few for any statistics
NAMED_TIED = 5  # a longer list of tied names says less than their number
SHOWN_BEHIND = 3  # optimizers named in the sentence
LEVEL = 5e-4  # a smaller difference of accuracies is shown as 0.0 points


class Headline(NamedTuple):
    """Plain sentences."""

    text: str  # who is ahead, and what to do
    details: tuple[str, ...]  # what more repeats would show, whether it holds for new images


def headline(rows: Sequence[Row], claims: Claims) -> Headline:
    """Put the comparison of `rows`, best first, into words."""
    confirmed = [row for row in rows if row.basis is Phase.CONFIRM]
    if not confirmed:
        return Headline(_unconfirmed(rows), ())
    best = confirmed[0]
    if len(confirmed) == 1:
        return Headline(
            f"{best.optimizer} reaches {100 * best.mean:.1f} % validation accuracy; "
            "no other optimizer has been confirmed, so there is nothing to compare it with.",
            (),
        )
    if all(row.confirm_diverged == len(row.runs) for row in confirmed):
        return Headline(
            "Nothing can be said: every confirmation run diverged. Lower the learning rates of the "
            "search space and search again.",
            (),
        )
    if all(math.isnan(pair.p_value) for pair in claims.pairs):
        return Headline(_single_repeat(confirmed), ())
    to_best = {p.second: p for p in claims.pairs if p.first == best.optimizer}
    tied = [best.optimizer, *(n for n, p in to_best.items() if not p.separated)]
    behind = [p for p in to_best.values() if p.separated]
    details = (_repeats(claims, tied), _new_images(claims, behind))
    return Headline(_sentence(claims, tied, behind), tuple(filter(None, details)))


def _sentence(claims: Claims, tied: Sequence[str], behind: Sequence[Pair]) -> str:
    if len(tied) == 1:
        return f"{tied[0]} is best on these images: {_behind(behind)}. Use {tied[0]}."
    luck = f"gaps below about {points(claims.margin)} points are luck here"
    if behind:
        return f"{_tied(tied, claims.pairs)}; {_behind(behind)}. {_choice(tied)}: {luck}."
    if len(tied) <= NAMED_TIED:
        return f"{join(tied)} are not distinguishable here. {_choice(tied)}: {luck}."
    return (
        f"None of the {len(tied)} optimizers can be told from the best here; "
        f"{tied[0]} leads by luck or by little. {_choice(tied)}: {luck}."
    )


def _tied(tied: Sequence[str], pairs: Iterable[Pair]) -> str:
    """All alike, or only none of them separated from the best."""
    if len(tied) > NAMED_TIED:
        return f"{tied[0]} leads here, but {len(tied) - 1} others cannot be told from it"
    if any(pair.separated and set(pair[:2]) <= set(tied) for pair in pairs):
        return f"{tied[0]} leads here, but cannot be told from {join(tied[1:])}"
    return f"{join(tied)} are not distinguishable here"


def _choice(tied: Sequence[str]) -> str:
    return "Either will do" if len(tied) == 2 else f"Any of the {len(tied)} will do"


def _behind(pairs: Sequence[Pair]) -> str:
    parts = [
        f"{pair.second} is {points(pair.difference)} points behind "
        f"({points(pair.low)} to {points(pair.high)})"
        for pair in pairs[:SHOWN_BEHIND]
    ]
    rest = len(pairs) - SHOWN_BEHIND
    if rest > 0:
        parts.append(f"{rest} more {'is' if rest == 1 else 'are'} further behind")
    return join(parts)


def _unconfirmed(rows: Sequence[Row]) -> str:
    known = [row for row in rows if not math.isnan(row.mean)]
    if not known:
        return "Nothing can be ranked: no run of this study has a result."
    best = max(known, key=lambda row: row.mean)
    return (
        "Nothing can be ranked yet: no winner has been confirmed by a rerun. The highest value "
        f"so far is {100 * best.mean:.1f} % ({best.optimizer}), picked among many and so too high."
    )


def _single_repeat(confirmed: Sequence[Row]) -> str:
    first, second = confirmed[:2]
    gap = first.mean - second.mean
    lead = (
        f"{first.optimizer} and {second.optimizer} end level at the top"
        if gap < LEVEL
        else f"{first.optimizer} is {points(gap)} points ahead of {second.optimizer}"
    )
    return (
        f"Nothing can be said yet: {lead}, but a single repeat cannot tell a difference from "
        f"luck; run the study with --repeats {FEWEST_REPEATS} or more."
    )


def _repeats(claims: Claims, tied: Sequence[str]) -> str:
    """How many more repeats would show the largest difference among the tied."""
    inside = [p for p in claims.pairs if {p.first, p.second} <= set(tied) and not p.separated]
    inside = [p for p in inside if p.repeats > 1]
    if not inside:
        return ""
    widest = max(inside, key=lambda pair: abs(pair.difference))
    gap = f"{widest.first} over {widest.second}, {points(abs(widest.difference))} points"
    if abs(widest.difference) < LEVEL:
        return "They reach the same accuracy, so no number of repeats would separate them."
    total = repeats_needed(widest.difference, claims.spread.deviation, len(claims.places))
    if total is None:
        return f"The largest gap among them ({gap}) is too small for repeats to settle."
    more = max(total - widest.repeats, 1)
    return (
        f"To settle the largest gap among them ({gap}) about {more} more "
        f"repeat{'s' if more > 1 else ''} would be needed."
    )


def _new_images(claims: Claims, behind: Sequence[Pair]) -> str:
    """Whether the differences named hold for other images of the same kind."""
    if not behind:
        return ""
    sure = [pair.second for pair in behind if pair.carries_over]
    if len(sure) == len(behind):
        return "This holds for new images of the same kind, too."
    need = (
        f"with so few images a gap of about {points(claims.new_margin)} points would be needed "
        "to be sure; more images narrow it, more repeats do not."
    )
    if not sure:
        return f"Whether this holds for new images of the same kind is not certain: {need}"
    return f"For new images of the same kind this is certain of {join(sure)} only: {need}"
