"""Distribute runs to places that train them, and yield each result once, as soon as it exists.

A place is this process (`study.training.population`) or another one, perhaps on another machine.
The populations of a lost place are distributed again: a run depends on nothing but itself, so its
result is the same wherever and however often it is trained. A population that was at two lost
places is trained last, at a place that trains nothing else; if that is lost too, this population is
to blame.
"""

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import NamedTuple, Protocol

from study.training.program_cache import Compilation
from study.training.program_key import Signature, signature_of
from study.training.runs import HeadResult, HeadRun, TrainingRules

MOST_LOSSES = 2  # places that a population may lose before it is trained alone
POLL_SECONDS = 1.0  # until the list of places is read again

Results = list[HeadResult]


class PlaceLostError(Exception):
    """A place is lost, with all that it was training."""


class Place(Protocol):
    """Trains populations, several concurrently."""

    side_by_side: int  # populations that it trains concurrently; it is given twice as many
    busy: int  # populations that keep it busy: with fewer, some of its threads wait at the end

    @property
    def compiled(self) -> Collection[Signature]:
        """Signatures of the programs that it has."""

    def submit(self, runs: list[HeadRun]) -> "Future[Results]":
        """Start a population, whose runs share a signature; return results in their order.

        The future raises PlaceLostError if the place is lost, MemoryError or TensorFlow's own
        error if the population does not fit into memory.
        """

    def stop(self, *, patient: bool) -> None:
        """Abandon all populations; `patient` waits until they have ended."""


class Population(NamedTuple):
    """A population that is not trained yet."""

    indices: tuple[int, ...]  # of its runs, which share the signature
    signature: Signature
    losses: int = 0  # number of its places that were lost


class Trainer(ABC):
    """Trains heads by common rules, `size` in one program, at its places."""

    def __init__(self, rules: TrainingRules, size: int) -> None:
        self.rules, self.size, self.metric = rules, size, rules.metric

    @abstractmethod
    def places(self) -> Sequence[Place]:
        """Return the places that can be given work now, at least one."""

    @property
    def compilations(self) -> int:
        """Number of programs that its places compiled or read."""
        return len(self.compiled_here)

    @property
    def compile_seconds(self) -> float:
        """Wall time of these compilations, added up also where they ran concurrently."""
        return sum(one.end - one.start for one in list(self.compiled_here))

    @property
    def compiled_here(self) -> Sequence[Compilation]:
        """The programs that this process compiled or read."""
        return ()

    def train(self, runs: Sequence[HeadRun]) -> Iterator[list[tuple[int, HeadResult]]]:
        """Train all runs; yield (index into `runs`, result) as populations end, in any order.

        All results since the last request are yielded together, so that one write can save them.
        Closing the iterator, or an interrupt, stops each running population after its current call
        of a program; only closing waits for that.

        Raises:
            MemoryError: a population does not fit, or its places were lost repeatedly. On a GPU
                TensorFlow raises its own error, see `population.OUT_OF_MEMORY`.
        """
        left, runs = list(runs), ()  # so that a state is freed once it has been continued
        return _Distribution(self, left).results()

    def signature(self, run: HeadRun) -> Signature:
        """Return the signature of a run; runs with the same one train together."""
        found = signature_of(run.config, len(run.train), len(run.validation), self.rules.widths)
        return found._replace(alone=run.config.optimizer in self.rules.alone)

    def count(self, runs: Iterable[HeadRun]) -> Counter[Signature]:
        """Return the number of runs with each signature."""
        return Counter(map(self.signature, runs))

    def are_enough(self, counts: Counter[Signature]) -> bool:
        """Return whether so many runs with these signatures keep all places busy."""
        busy = sum(place.busy for place in self.places())
        return sum(-(-count // self.size) for count in counts.values()) >= busy


class _Distribution:
    """Runs and the places that train them; a state in `left` is dropped once it is continued."""

    def __init__(self, trainer: Trainer, left: list[HeadRun]) -> None:
        self._trainer, self._left = trainer, left
        self._waiting: dict[Signature, deque[Population]] = {}
        self._suspects: deque[Population] = deque()  # each waits for a place of its own
        self._running: dict[Future[Results], tuple[Place, Population]] = {}
        self._given_up = ""  # an error, raised once all other populations have ended
        self._used: list[Place] = []
        groups: dict[Signature, list[int]] = {}
        for index, run in enumerate(left):
            groups.setdefault(trainer.signature(run), []).append(index)
        for signature, members in groups.items():
            members.sort(key=lambda index: -left[index].remaining)  # similar numbers of epochs
            self._waiting[signature] = deque(
                Population(tuple(members[at : at + trainer.size]), signature)
                for at in range(0, len(members), trainer.size)
            )

    def results(self) -> Iterator[list[tuple[int, HeadResult]]]:
        """Yield results; see `Trainer.train`."""
        patient = True
        try:
            while self._waiting or self._suspects or self._running:
                self._distribute()
                done = wait(self._running, POLL_SECONDS, FIRST_COMPLETED).done
                whole = [future for future in done if not future.exception()]
                if whole:
                    yield self._ended(whole)
                for future in done.difference(whole):
                    self._again(future)
            if self._given_up:
                raise MemoryError(self._given_up)
        except KeyboardInterrupt:
            patient = False  # a compilation takes seconds: let the caller answer first
            raise
        finally:
            for place in self._used:
                place.stop(patient=patient)

    def _distribute(self) -> None:
        """Give every place as much as it can take, the least busy one first."""
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
            self._running[future] = place, chosen

    def _load(self, place: Place) -> float:
        """Return the number of populations at a place, relative to its size."""
        return sum(where is place for where, _ in self._running.values()) / place.side_by_side

    def _next(self, place: Place) -> Population | None:
        """Take the population to start at a place now; None if it is better to wait.

        One program is compiled while others train. Tracing holds Python's lock, so a second missing
        program is started only if there is nothing to train.
        """
        there = [population for where, population in self._running.values() if where is place]
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
                for where, population in self._running.values()
                if where is not place
            )  # leave to other places what they compile; then take the program with the most work
            signature = max(
                missing, key=lambda one: (-elsewhere[one], self._work(self._waiting[one]))
            )
        elif ready:
            # the longest first, so that all places end at the same time
            signature = max(ready, key=lambda one: self._work([self._waiting[one][0]]))
        else:
            return None
        chosen = self._waiting[signature].popleft()
        if not self._waiting[signature]:
            del self._waiting[signature]
        return chosen

    def _work(self, populations: Iterable[Population]) -> int:
        """Return the work of populations, in epochs of one unit."""
        return sum(
            population.signature.width
            * max(self._left[index].remaining for index in population.indices)
            for population in populations
        )

    def _ended(self, whole: Sequence[Future[Results]]) -> list[tuple[int, HeadResult]]:
        """Return (index, result) of runs that ended, and drop the states they continued."""
        found: list[tuple[int, HeadResult]] = []
        for future in whole:
            _, population = self._running.pop(future)
            found += zip(population.indices, future.result(), strict=True)
        for index, _ in found:
            self._left[index] = self._left[index]._replace(state=None)
        return found

    def _again(self, future: Future[Results]) -> None:
        """Put a population back if its place was lost; raise any other error."""
        _, population = self._running.pop(future)
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
