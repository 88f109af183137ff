"""Searches come in; waves of tasks go out, from as many searches at once as keep the device busy.

A paused trial waits with all of its state, so every search under way costs memory. A search ends
with few trials; then the next ones begin and fill the device. Which ones run side by side changes
no record: a trial depends on nothing but the earlier results of its own search.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from study.search.oracles import Proposal, Search
from study.search.runner import Runner
from study.search.tasks import Task
from study.training.program_key import Signature

Key = tuple[str, int]  # of a search: its name, see `searches_of`, and its repeat


class Asked(NamedTuple):
    """What a search wants to see trained."""

    task: Task
    search: Search
    number: str  # the search's own of this trial


class UnderWay:
    """The searches of a round.

    Args:
        keys: of all searches, in the order in which they begin.
        begin: makes a search.
        task: of a search's proposal.
        runner: says what keeps its device busy.
        least: so many are under way at once even if fewer would keep it busy.
    """

    def __init__(
        self,
        keys: Iterable[Key],
        begin: Callable[[Key], Search],
        task: Callable[[str, int, Proposal], Task],
        runner: Runner,
        *,
        least: int = 1,
    ) -> None:
        self._waiting = deque(keys)
        self._begin, self._task, self._runner, self._least = begin, task, runner, least
        self._searches: dict[Key, Search] = {}
        self.whole: set[Key] = set()  # those that came to their end

    def wave(self) -> tuple[list[Asked], list[Key]]:
        """All that can be trained now, and which searches it begins; nothing once all have ended.

        Everything that was asked before has been told.
        """
        asked: list[Asked] = []
        begun: list[Key] = []
        counts: Counter[Signature] = Counter()

        def ask(key: Key) -> None:
            search = self._searches[key]
            new = [Asked(self._task(*key, one), search, one.number) for one in search.ask()]
            if not new:
                self.whole.add(key)
                del self._searches[key]
            counts.update(self._runner.count(one.task for one in new))
            asked.extend(new)

        for key in list(self._searches):
            ask(key)
        while self._waiting and (
            len(self._searches) < self._least or not self._runner.population.are_enough(counts)
        ):
            begun.append(key := self._waiting.popleft())
            self._searches[key] = self._begin(key)
            ask(key)
        return asked, begun


def in_turn(keys: Sequence[Key], *, whole_repeats: bool) -> list[Key]:
    """The order in which searches begin.

    All repeats of an optimizer, which share its programs, then the next optimizer's; or, where
    the time may be over before, the whole of a repeat, then the next.
    """
    found: Mapping[Key, None] = dict.fromkeys(keys)
    return sorted(found, key=lambda key: key[1]) if whole_repeats else list(found)
