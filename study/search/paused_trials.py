"""Results come in; of their states only those stay in memory that can still be asked for.

A state is several megabytes, and a study has thousands. So it stays only while its trial can still
be promoted. Weights do not stay at all: those of the few runs to take home are trained once more at
the end, with the same numbers.
"""

from collections.abc import Callable, Iterable, Mapping

from study.records.trial_record import TrialRecord
from study.training.runs import HeadState

Rung = tuple[str, int, int | None, int | None]


class PausedTrials:
    """States of trials that can still be promoted: so far the best of each rung.

    Args:
        promoted: (bracket, rung) -> how many trials of that rung go on.
        score: of a record, by which the oracle promotes.
    """

    def __init__(
        self,
        promoted: Mapping[tuple[int | None, int | None], int],
        score: Callable[[TrialRecord], float],
    ) -> None:
        self._promoted, self._score = promoted, score
        self._states: dict[Rung, dict[str, tuple[TrialRecord, HeadState]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._states.values()))

    def may_pause(self, bracket: int | None, rung: int | None) -> bool:
        """Whether trials of this rung can be promoted at all."""
        return self._promoted.get((bracket, rung), 0) > 0

    def keep_only(self, wanted: Iterable[str | None]) -> None:
        """Forget the states of all other trials: their rungs have promoted."""
        names = set(wanted)
        self._states = {
            rung: {name: kept for name, kept in states.items() if name in names}
            for rung, states in self._states.items()
            if states.keys() & names
        }

    def state_of(self, record: TrialRecord) -> HeadState | None:
        """Where to continue; None if it is not kept."""
        found = self._states.get(rung_of(record), {}).get(record.trial_id)
        return found[1] if found else None

    def forget(self, record: TrialRecord) -> None:
        """Let go the state of a trial that has gone on."""
        self._states.get(rung_of(record), {}).pop(record.trial_id, None)

    def add(self, record: TrialRecord, state: HeadState) -> None:
        """Keep a state, unless enough of its rung are better; then the worst of them goes."""
        states = self._states.setdefault(rung_of(record), {})
        states[record.trial_id] = record, state
        if len(states) > self._promoted.get((record.bracket, record.rung), 0):
            # by id among equals, as the oracle has them
            del states[max(states, key=lambda name: (-self._score(states[name][0]), name))]


def rung_of(record: TrialRecord) -> Rung:
    """The search, and the bracket and rung in it, whose trials compete for promotion."""
    return record.search, record.repeat, record.bracket, record.rung
