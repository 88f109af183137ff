"""Runs are dealt out to places that train them; each result comes back once, when it is there.

A place is this process (`study.training.population`) or another one, perhaps on another machine.
What a lost place had is dealt out again: a run depends on nothing but itself, so it ends the same
wherever and however often it is trained. A population that was there at two losses comes last, to
a place that has nothing else to do; if that is lost, too, it is the population that kills places.
"""

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import NamedTuple, Protocol

from study.common.metrics import ACCURACY
from study.training.program_cache import Compilation
from study.training.program_key import WIDTHS, Signature, signature_of
from study.training.runs import HeadResult, HeadRun

MOST_LOSSES = 2  # of places that a population was at, before it is watched alone
POLL_SECONDS = 1.0  # seconds after which places are looked for again

Results = list[HeadResult]


class PlaceLostError(Exception):
    """A place is gone, and with it what it was training."""


class Place(Protocol):
    """Trains populations, several at once."""

    side_by_side: int  # populations that it trains at once; twice as many are sent
    busy: int  # populations that keep it at work: of fewer the last ones leave a part of it waiting

    @property
    def compiled(self) -> Collection[Signature]:
        """Signatures of the programs that it has."""

    def submit(self, runs: list[HeadRun]) -> "Future[Results]":
        """Begin a population, whose runs share a signature; results in the order of the runs.

        The future raises PlaceLostError if the place is gone, MemoryError or TensorFlow's own
        error if the population does not fit.
        """

    def stop(self, *, patient: bool) -> None:
        """Give up what is under way; `patient` waits until that has ended."""


class Population(NamedTuple):
    """A population that is not trained yet."""

    indices: tuple[int, ...]  # of its runs, which share the signature
    signature: Signature
    losses: int = 0  # of places that had it


class Trainer(ABC):
    """Trains heads, `size` in one program, at its places.

    Args:
        n_classes: how many classes.
        max_epochs: horizon of every schedule.
        size: heads in one program (see `population_size`).
        widths: dense widths are padded to the next of these; `few_widths` chooses them.
        alone: names of optimizers that plain Keras trains, because they cannot be mapped.
        metric: what decides between epochs, a key of `study.common.metrics.WORDS`.
    """

    def __init__(
        self,
        n_classes: int,
        *,
        max_epochs: int,
        size: int,
        widths: Sequence[int] = WIDTHS,
        alone: Collection[str] = (),
        metric: str = ACCURACY,
    ) -> None:
        self.n_classes, self.max_epochs, self.widths = n_classes, max_epochs, tuple(widths)
        self.size, self.metric, self.alone = size, metric, frozenset(alone)

    @abstractmethod
    def places(self) -> Sequence[Place]:
        """The places that can be given work now, at least one."""

    @property
    def compilations(self) -> int:
        """Number of programs that its places compiled or read."""
        return 0

    @property
    def compile_seconds(self) -> float:
        """Wall time of these compilations."""
        return 0.0

    @property
    def compiled_here(self) -> Sequence[Compilation]:
        """The programs that this process compiled or read."""
        return ()

    def train(self, runs: Sequence[HeadRun]) -> Iterator[list[tuple[int, HeadResult]]]:
        """Train all runs; yields (index into `runs`, result) as populations end, in any order.

        What ended since it was last asked comes together, so one write can keep all of it.
        Closing the iterator or an interrupt ends the populations under way after their call; only
        the first one waits for that.

        Raises:
            MemoryError: a population does not fit, or its places were lost again and again. On a
                GPU TensorFlow has an error of its own, see `population.OUT_OF_MEMORY`.
        """
        left, runs = list(runs), ()  # so that a state goes once it was continued
        return _Dealt(self, left).results()

    def signature(self, run: HeadRun) -> Signature:
        """What runs that train together with `run` share."""
        found = signature_of(run.config, len(run.train), len(run.validation), self.widths)
        return found._replace(alone=run.config.optimizer in self.alone)

    def count(self, runs: Iterable[HeadRun]) -> Counter[Signature]:
        """How many of the runs have each signature."""
        return Counter(map(self.signature, runs))

    def are_enough(self, counts: Counter[Signature]) -> bool:
        """Whether so many runs of these signatures, trained together, keep the places busy."""
        busy = sum(place.busy for place in self.places())
        return sum(-(-count // self.size) for count in counts.values()) >= busy


class _Dealt:
    """Runs on their way; `left` is emptied of states as they are continued."""

    def __init__(self, trainer: Trainer, left: list[HeadRun]) -> None:
        self._trainer, self._left = trainer, left
        self._waiting: dict[Signature, deque[Population]] = {}
        self._suspects: deque[Population] = deque()  # each waits for a place of its own
        self._flying: dict[Future[Results], tuple[Place, Population]] = {}
        self._given_up = ""  # why, once all the rest has ended
        self._used: list[Place] = []
        for found in self._populations():
            self._waiting.setdefault(found.signature, deque()).append(found)

    def results(self) -> Iterator[list[tuple[int, HeadResult]]]:
        """See `Trainer.train`."""
        patient = True
        try:
            while self._waiting or self._suspects or self._flying:
                self._deal()
                done = wait(self._flying, POLL_SECONDS, FIRST_COMPLETED).done
                whole = [future for future in done if not future.exception()]
                if whole:
                    yield self._ended(whole)
                for future in done.difference(whole):
                    self._again(future)
            if self._given_up:
                raise MemoryError(self._given_up)
        except KeyboardInterrupt:
            patient = False  # a compilation takes seconds: say first that it was heard
            raise
        finally:
            for place in self._used:
                place.stop(patient=patient)

    def _populations(self) -> Iterator[Population]:
        """Runs that train together: one signature, similar numbers of epochs left."""
        groups: dict[Signature, list[int]] = {}
        for index, run in enumerate(self._left):
            groups.setdefault(self._trainer.signature(run), []).append(index)
        size = self._trainer.size
        for signature, members in groups.items():
            members.sort(key=lambda index: -self._left[index].remaining)
            for at in range(0, len(members), size):
                yield Population(tuple(members[at : at + size]), signature)

    def _deal(self) -> None:
        """Give every place as much as it can take, the one with the least to do first."""
        places = list(self._trainer.places())
        while places:
            place = min(places, key=self._load)
            chosen = self._next(place)
            if chosen is None:
                places.remove(place)
                continue
            if place not in self._used:
                self._used.append(place)
            future = place.submit([self._left[index] for index in chosen.indices])
            self._flying[future] = place, chosen

    def _load(self, place: Place) -> float:
        """How much a place has to do, for its size."""
        return sum(where is place for where, _ in self._flying.values()) / place.side_by_side

    def _next(self, place: Place) -> Population | None:
        """Take the population to begin there now: one program is compiled while others train.

        Tracing holds Python's lock, so of programs that are missing one at a time is begun, and
        more only while there is nothing to train. None if it is better to wait.
        """
        there = [population for where, population in self._flying.values() if where is place]
        if self._suspects and not (self._waiting or there):
            return self._suspects.popleft()
        watched = any(population.losses >= MOST_LOSSES for population in there)
        if watched or len(there) >= 2 * place.side_by_side:
            return None
        compiled = place.compiled
        ready = [one for one in self._waiting if one in compiled or one.alone]
        begun = {population.signature for population in there}
        compiling = {one for one in begun if one not in compiled and not one.alone}
        missing = [one for one in self._waiting if one not in ready and one not in compiling]
        if missing and (not compiling or (not ready and len(compiling) < place.side_by_side)):
            elsewhere = Counter(
                population.signature
                for where, population in self._flying.values()
                if where is not place
            )  # what other places compile is left to them; then most can train while others compile
            signature = max(missing, key=lambda one: (-elsewhere[one], self._work(one)))
        elif ready:
            signature = max(ready, key=self._longest)  # so that all places end at one time
        else:
            return None
        chosen = self._waiting[signature].popleft()
        if not self._waiting[signature]:
            del self._waiting[signature]
        return chosen

    def _work(self, signature: Signature) -> int:
        """Of all that waits for a program, in epochs of one unit."""
        return sum(map(self._work_of, self._waiting[signature]))

    def _longest(self, signature: Signature) -> int:
        """The work of the next population of a program."""
        return self._work_of(self._waiting[signature][0])

    def _work_of(self, population: Population) -> int:
        return population.signature.width * max(
            self._left[index].remaining for index in population.indices
        )

    def _ended(self, whole: Sequence[Future[Results]]) -> list[tuple[int, HeadResult]]:
        """(index, result) of what ended; the states that it was continued from are let go."""
        found: list[tuple[int, HeadResult]] = []
        for future in whole:
            _, population = self._flying.pop(future)
            found += zip(population.indices, future.result(), strict=True)
        for index, _ in found:
            self._left[index] = self._left[index]._replace(state=None)
        return found

    def _again(self, future: Future[Results]) -> None:
        """What failed: raised if it is its own fault, else put back among what waits."""
        _, population = self._flying.pop(future)
        try:
            future.result()
        except PlaceLostError as error:
            lost = population._replace(losses=population.losses + 1)
            if lost.losses > MOST_LOSSES:
                self._given_up = f"lost with each of {lost.losses} places: {error}"
            elif lost.losses == MOST_LOSSES:
                self._suspects.append(lost)
            else:
                self._waiting.setdefault(lost.signature, deque()).appendleft(lost)
