"""Which runs a page lists: a browser shows no table of a million lines."""

import math
from collections.abc import Sequence

from study.records.outcomes import score
from study.records.trial_record import TrialRecord

MOST_LISTED = 50_000


def listed_runs(
    records: Sequence[TrialRecord], guess: float, most: int = MOST_LISTED
) -> list[TrialRecord]:
    """All records, or the `most` best of more than that, in the order they have.

    Args:
        records: of a study.
        guess: what a diverged run is worth.
        most: how many a page has room for.
    """
    if len(records) <= most:
        return list(records)
    values = [score(record, guess) for record in records]
    ranked = sorted(
        range(len(records)),
        key=lambda place: -math.inf if math.isnan(values[place]) else values[place],
        reverse=True,
    )
    return [records[place] for place in sorted(ranked[:most])]
