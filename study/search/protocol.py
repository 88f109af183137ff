"""The protocol of a study: features and a search space in, records out.

A study goes from look to look. After each one the optimizers that are still in question (see
`study.verdicts.judge`) get the repeats until the next. A repeat has a search of each optimizer, its
winner's reruns (CONFIRM) and an untuned run (DEFAULT); the first look's repeats also rerun what the
search had found at parts of its budget (BUDGET).

All optimizers of a repeat see the same splits and seeds (paired), the search and the confirmation
use different ones, and the test rows are looked at only by runs that nothing is selected from. The
trials of several searches are trained side by side (see `under_way`). Every seed, split and
proposal is a function of the study's seed and of earlier results, so a run that stands in the
records is never trained again and a killed study continues where it was.

Searches come in; waves of tasks go out, from as many searches at once as keep the device busy.

A paused trial waits with all of its state, so every search under way costs memory. A search ends
with few trials; then the next ones begin and fill the device. Which ones run side by side changes
no record: a trial depends on nothing but the earlier results of its own search.
"""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from study.common.seeds import derive_seed
from study.records.outcomes import BUDGETS, incumbent, search_winner
from study.records.study_meta import Look, StudyMeta
from study.records.trial_record import Phase, Run, TrialRecord, trial_id
from study.search.budget import JOINT, budget_of, searches_of
from study.search.options import Options
from study.search.oracles import Proposal, Search
from study.search.runner import Runner
from study.search.tasks import Task
from study.space.head_config import HeadConfig
from study.space.search_space import SearchSpace
from study.training.program_key import Signature
from study.verdicts.answer import Answer
from study.verdicts.judge import answer_of, first_round, next_round
from study.verdicts.looks import AUTO
from study.verdicts.results import results_of, whole_repeats

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
            len(self._searches) < self._least or not self._runner.trainer.are_enough(counts)
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


class Round(NamedTuple):
    """What is about to run: repeats of each optimizer that are new."""

    before: dict[str, int]
    after: dict[str, int]
    answer: Answer | None  # of the rounds before
    looks: Sequence[Look]

    def new(self, name: str) -> range:
        """The repeats that an optimizer gets."""
        return range(self.before.get(name, 0), self.after[name])


class StudyProtocol:
    """Runs a study.

    Args:
        options: of the study.
        space: with the optimizers to compare.
        runner: trains, and holds the records.
        meta: of the study; its looks say when it is judged.
        begins: called with every round before it runs, and with the records in force.
    """

    def __init__(
        self,
        options: Options,
        space: SearchSpace,
        runner: Runner,
        meta: StudyMeta,
        begins: Callable[[Round, list[TrialRecord]], None] = lambda now, records: None,
    ) -> None:
        self.options, self.space, self.runner, self.meta = options, space, runner, meta
        self.stopped = ""  # why the search ended early
        self._begins = begins
        self._started = time.monotonic()
        self._budget = budget_of(options)

    def run(self) -> None:
        """Round after round, until the answer is known or all looks are spent."""
        race = self.options.repeats == AUTO
        ran: dict[str, int] = {}
        answer = None
        wanted: dict[str, int] | None = first_round(
            self.space.optimizers, self.meta.looks, race=race
        )
        while wanted and not self.stopped:
            now = Round(ran, wanted, answer, self.meta.looks)
            self._begins(now, self.records())
            self._run(now)
            ran = wanted
            answer = answer_of(self.meta, self.records(), ran)
            wanted = self._next(answer, ran) if race else None

    def _next(self, answer: Answer, ran: dict[str, int]) -> dict[str, int] | None:
        """The next round; it goes on from all records where a smaller margin once made more."""
        wanted = next_round(answer, ran, self.meta.looks)
        if wanted is None:
            records = self.records()
            recorded = whole_repeats(results_of(self.meta, records))
            if all(recorded[name] <= ran[name] for name in ran):
                return None
            ran = {name: max(ran[name], recorded[name]) for name in ran}
            wanted = next_round(answer_of(self.meta, records), ran, self.meta.looks)
        if wanted and self.options.allocation == "joint":  # one search tries all of them
            wanted = dict.fromkeys(wanted, max(wanted.values()))
        return wanted

    def _run(self, now: Round) -> None:
        whole = self._search(now)
        later = bool(now.before)
        pairs = [
            (name, repeat)
            for name in self.space.optimizers
            for repeat in now.new(name)
            # a first answer is worth having from a search that was cut short, a later one is not
            if not later or self._key(name, repeat) in whole
        ]
        self._confirm(pairs, budgets=set() if later else whole)

    def _key(self, name: str, repeat: int) -> Key:
        """Which search finds an optimizer's winner."""
        names = searches_of(self.options, self.space)
        return (name if name in names else JOINT), repeat

    def _search(self, now: Round) -> set[Key]:
        """Train what the searches of a round propose, wave by wave; those that came to their end.

        The untuned runs ride along with a search's first trials: they keep no core waiting.
        """
        fresh = [(name, repeat) for name in self.space.optimizers for repeat in now.new(name)]
        untuned: dict[Key, list[Task]] = defaultdict(list)
        for name, repeat in fresh:
            if self.space.points(name) > 1:  # else untuned and tuned are the same
                run = self._rerun(Phase.DEFAULT, repeat, 0, self.space.default(name), None)
                untuned[self._key(name, repeat)].append(run)
        limited = self.options.time_limit is not None
        searches = UnderWay(
            in_turn([self._key(*one) for one in fresh], whole_repeats=limited),
            self._begin,
            self._task,
            self.runner,
            least=len(searches_of(self.options, self.space)) if limited else 1,
        )
        while not self.stopped:
            wave, begun = searches.wave()
            tasks = [*(task for key in begun for task in untuned[key]), *(a.task for a in wave)]
            if not tasks:
                break
            done = {record.trial_id: record for record in self._until_time_is_over(tasks)}
            for task, search, number in wave:
                if task.run.trial_id in done:  # all of them, unless the time is over
                    search.tell(number, self.runner.score(done[task.run.trial_id]))
        return searches.whole

    def _begin(self, key: Key) -> Search:
        only = searches_of(self.options, self.space)[key[0]]
        return Search(self.space, only, self._budget, seed=self._proposals(key))

    def _proposals(self, key: Key) -> int:
        """The seed of a search's proposals: the same for all searches of a repeat."""
        return derive_seed(self.options.seed, "proposals", key[1])

    def _confirm(
        self, pairs: Sequence[tuple[str, int]], *, budgets: Collection[tuple[str, int]]
    ) -> None:
        """Rerun the winners of searches, (optimizer, repeat), with fresh seeds on fresh splits.

        Of the searches in `budgets`, which have ended, also what they had found before.
        """
        tasks = []
        trials = self._trials()
        for name, repeat in pairs:
            winner = search_winner(trials[name, repeat])
            if winner is None:
                continue
            config = self.runner.tasks[winner.trial_id].config
            tasks += [
                self._rerun(Phase.CONFIRM, repeat, number, config, winner)
                for number in range(self.options.confirm)
            ]
            if (name, repeat) in budgets:  # a joint search has no budget of one optimizer
                tasks += self._incumbents(trials[name, repeat], winner)
        self.runner.run(tasks)

    def _incumbents(self, trials: Sequence[TrialRecord], winner: TrialRecord) -> list[Task]:
        """Whole runs of what a search had found at parts of its budget, where it is another."""
        total = sum(record.epochs - record.initial_epoch for record in trials)
        tasks = []
        seen = [winner.hyperparameters]
        for part in BUDGETS:
            found = incumbent(trials, part * total)
            if found and found.hyperparameters not in seen:
                seen.append(found.hyperparameters)
                config = self.runner.tasks[found.trial_id].config
                tasks.append(
                    self._rerun(Phase.BUDGET, winner.repeat, 0, config, found, budget=part)
                )
        return tasks

    def _trials(self) -> dict[tuple[str, int], list[TrialRecord]]:
        """(optimizer, repeat) -> its search trials in the order in which they were proposed."""
        found: dict[tuple[str, int], list[TrialRecord]] = defaultdict(list)
        for record in sorted(self.runner.records.values(), key=lambda record: record.trial_id):
            if record.phase == Phase.SEARCH:
                found[record.optimizer, record.repeat].append(record)
        return found

    def records(self) -> list[TrialRecord]:
        """Every record in force, in the order of trial ids, as they stand in the file."""
        left_out = self.superseded()
        found = self.runner.records
        return [found[name] for name in sorted(found) if name not in left_out]

    def superseded(self) -> set[str]:
        """Reruns of what a longer search has since replaced."""
        asked = {
            (task.run.optimizer, task.run.repeat, task.run.phase)
            for task in self.runner.tasks.values()
        }
        return {
            record.trial_id
            for record in self.runner.records.values()
            if record.phase in (Phase.CONFIRM, Phase.BUDGET)
            and (record.optimizer, record.repeat, Phase.CONFIRM) in asked
            and record.trial_id not in self.runner.tasks
        }

    def _task(self, search: str, repeat: int, proposal: Proposal) -> Task:
        name = partial(trial_id, search, repeat, Phase.SEARCH)
        split = self.runner.data.splits("search", repeat)
        run = Run(
            trial_id=name(number=proposal.number),
            optimizer=proposal.config.optimizer,
            repeat=repeat,
            phase=Phase.SEARCH,
            # the same for every optimizer: the same initial weights and order of rows
            seed=derive_seed(self.options.seed, "search", repeat, proposal.root),
            split=split.digest,
            hyperparameters=proposal.config.hyperparameters(),
            epochs=proposal.epochs,
            search=search,
            number=proposal.number,
            bracket=proposal.bracket,
            rung=proposal.rung,
            continues=name(number=proposal.continues) if proposal.continues else None,
            initial_epoch=proposal.initial_epoch,
        )
        return Task(run, proposal.config, split)

    def _rerun(
        self,
        phase: Phase,
        repeat: int,
        count: int,
        config: HeadConfig,
        winner: TrialRecord | None,
        *,
        budget: float | None = None,
    ) -> Task:
        """A run on a split of the confirmation; all but the confirmation's own share run 0's."""
        number = winner.number if winner else ""
        confirm = count if phase is Phase.CONFIRM else None
        split = self.runner.data.splits("confirm", repeat, count)
        label = f"{budget:g}" if budget is not None else number
        run = Run(
            trial_id=trial_id(config.optimizer, repeat, phase, number=label, confirm=confirm),
            optimizer=config.optimizer,
            repeat=repeat,
            phase=phase,
            seed=derive_seed(self.options.seed, "confirm", repeat, count),
            split=split.digest,
            hyperparameters=config.hyperparameters(),
            epochs=winner.epochs if winner and budget is None else self.options.max_epochs,
            number=number,
            confirm=confirm,
            budget=budget,
        )
        return Task(run, config, split)

    def _until_time_is_over(self, tasks: list[Task]) -> list[TrialRecord]:
        limit = self.options.time_limit

        def enough() -> bool:
            over = limit is not None and time.monotonic() - self._started > 60 * limit
            if over:
                self.stopped = f"the time limit of {limit:g} min was reached"
            return over

        return self.runner.run(tasks, enough=enough)
