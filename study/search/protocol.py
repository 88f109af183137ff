"""The protocol of a study: options, a search space and a runner come in, records go out.

A study goes from planned look (interim analysis) to look. After each look the optimizers still in
the race (see `study.verdicts.judge`) get the repeats until the next one. A repeat has a search of
each optimizer, confirmation runs of its winner (CONFIRM) and a default run (DEFAULT); until the
first look it also has runs of what the search had found at fractions of its budget (BUDGET).

All optimizers of a repeat share splits and seeds (they are paired), the search and the confirmation
have different ones, and test rows are seen only by runs that nothing is selected from. Each seed,
split and proposal depends only on the study's seed and on earlier results, so a recorded run is
never trained again, and a killed study continues where it was. Which searches run concurrently
changes no record either: a trial depends on no other search than its own.
"""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from study.space.search_space import SearchSpace
from study.training.program_key import Signature
from study.verdicts.answer import Answer
from study.verdicts.judge import answer_of, first_round, next_round
from study.verdicts.looks import AUTO
from study.verdicts.results import results_of, whole_repeats

SearchKey = tuple[str, int]  # name of a search, see `searches_of`, and its repeat


class Asked(NamedTuple):
    """A run to train: a trial that a search has proposed, or a default run."""

    task: Task
    search: Search | None = None
    number: str = ""  # the search's own number of the trial


class Round(NamedTuple):
    """What is about to run: new repeats of each optimizer."""

    before: dict[str, int]  # repeats of each optimizer that are over
    after: dict[str, int]  # repeats of each optimizer after the round
    answer: Answer | None  # of the rounds before
    looks: Sequence[Look]

    def new(self, name: str) -> range:
        """Return the repeats that an optimizer gets."""
        return range(self.before.get(name, 0), self.after[name])


class StudyProtocol:
    """Runs a study; `begins` is called before each round, with the records in force, too."""

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
        self._names = searches_of(options, space)

    def run(self) -> None:
        """Run round after round until the answer is known or no look remains."""
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
        """Return the repeats of the next round, after all that another question or margin ran."""
        wanted = next_round(answer, ran, self.meta.looks)
        if wanted is None:
            records = self.records()
            recorded = whole_repeats(results_of(self.meta, records))
            if all(recorded[name] <= ran[name] for name in ran):
                return None
            ran = {name: max(ran[name], recorded[name]) for name in ran}
            wanted = next_round(answer_of(self.meta, records), ran, self.meta.looks)
        if wanted and self.options.allocation == "joint":  # one search tries all optimizers
            wanted = dict.fromkeys(wanted, max(wanted.values()))
        return wanted

    def _run(self, now: Round) -> None:
        """Search and confirm; a search that was cut short is confirmed only before the first look.

        There are no budget runs of a joint search, which has no budget for each optimizer.
        """
        fresh = [(name, repeat) for name in self.space.optimizers for repeat in now.new(name)]
        ended = self._search(fresh)
        tasks, trials, first = [], self._trials(), not now.before
        for name, repeat in fresh:
            winner = search_winner(trials[name, repeat])
            if winner and (first or self._key(name, repeat) in ended):
                tasks += [
                    self._retraining(Phase.CONFIRM, name, repeat, winner, count=count)
                    for count in range(self.options.confirm)
                ]
                if first and (name, repeat) in ended:
                    tasks += self._budget_runs(trials[name, repeat], winner)
        self.runner.run(tasks)

    def _key(self, name: str, repeat: int) -> SearchKey:
        """Return the search that finds an optimizer's winner."""
        return (name if name in self._names else JOINT), repeat

    def _search(self, fresh: Sequence[tuple[str, int]]) -> set[SearchKey]:
        """Train what the searches of a round propose; return the searches that ended.

        Default runs train with the first trials of their search, so that no core waits for them.
        """
        untuned: dict[SearchKey, list[Task]] = defaultdict(list)
        for name, repeat in fresh:
            if self.space.points(name) > 1:  # else the default run is the search's only trial
                run = self._retraining(Phase.DEFAULT, name, repeat)
                untuned[self._key(name, repeat)].append(run)
        limited = self.options.time_limit is not None
        keys = list(dict.fromkeys(self._key(*one) for one in fresh))
        if limited:  # whole repeats first; else all repeats of an optimizer, which share programs
            keys.sort(key=lambda key: key[1])
        ended: set[SearchKey] = set()
        for wave in self._waves(keys, untuned, ended):
            tasks = [one.task for one in wave]
            done = {r.trial_id: r for r in self.runner.run(tasks, enough=self._time_is_over)}
            for task, search, number in wave:
                if search and task.run.trial_id in done:  # all, unless the time is over
                    search.tell(number, self.runner.score(done[task.run.trial_id]))
            if self.stopped:
                break
        return ended

    def _waves(
        self,
        keys: Iterable[SearchKey],
        default_runs: Mapping[SearchKey, list[Task]],
        ended: set[SearchKey],
    ) -> Iterator[list[Asked]]:
        """Yield all that can be trained now, once all before has a result; fill `ended`.

        As many searches run concurrently as keep the device busy, because a paused trial keeps its
        state, so that each running search costs memory. A search ends with few trials; then the
        next ones start, in the order of `keys`. Under a time limit all optimizers run concurrently.
        """
        least = len(self._names) if self.options.time_limit is not None else 1
        waiting, running = deque(keys), dict[SearchKey, Search]()
        while True:
            first: list[Asked] = []
            asked: list[Asked] = []
            counts: Counter[Signature] = Counter()
            due = deque(running)
            while due or (
                waiting and (len(running) < least or not self.runner.trainer.are_enough(counts))
            ):
                key = due.popleft() if due else waiting.popleft()
                if key not in running:
                    budget, seed = budget_of(self.options), self._proposals(key)
                    running[key] = Search(self.space, self._names[key[0]], budget, seed=seed)
                    first += [Asked(task) for task in default_runs.get(key, ())]
                search = running[key]
                new = [Asked(self._task(key, one), search, one.number) for one in search.ask()]
                if not new:
                    ended.add(key)
                    del running[key]
                counts.update(self.runner.count(one.task for one in new))
                asked += new
            if not first and not asked:
                return
            yield [*first, *asked]

    def _time_is_over(self) -> bool:
        limit = self.options.time_limit
        over = limit is not None and time.monotonic() - self._started > 60 * limit
        if over:
            self.stopped = f"the time limit of {limit:g} min was reached"
        return over

    def _proposals(self, key: SearchKey) -> int:
        """Return the seed of a search's proposals, the same for all searches of a repeat."""
        return derive_seed(self.options.seed, "proposals", key[1])

    def _budget_runs(self, trials: Sequence[TrialRecord], winner: TrialRecord) -> list[Task]:
        """Return full runs of other winners that the search had at fractions of its budget."""
        total = sum(record.epochs - record.initial_epoch for record in trials)
        tasks = []
        seen = [winner.hyperparameters]
        for fraction in BUDGETS:
            found = incumbent(trials, fraction * total)
            if found and found.hyperparameters not in seen:
                seen.append(found.hyperparameters)
                name, repeat = found.optimizer, found.repeat
                tasks.append(self._retraining(Phase.BUDGET, name, repeat, found, budget=fraction))
        return tasks

    def _trials(self) -> dict[SearchKey, list[TrialRecord]]:
        """Return the search trials of each (optimizer, repeat), in the order of their proposal."""
        found: dict[SearchKey, list[TrialRecord]] = defaultdict(list)
        for record in sorted(self.runner.records.values(), key=lambda record: record.trial_id):
            if record.phase == Phase.SEARCH:
                found[record.optimizer, record.repeat].append(record)
        return found

    def records(self) -> list[TrialRecord]:
        """Return the records in force in the order of trial ids, which is that of the file."""
        left_out = self.superseded()
        found = self.runner.records
        return [found[name] for name in sorted(found) if name not in left_out]

    def task_of(self, record: TrialRecord) -> Task:
        """Return the task of a confirmation run, also of one of an earlier process."""
        if record.trial_id in self.runner.tasks:
            return self.runner.tasks[record.trial_id]
        split = self.runner.data.splits("confirm", record.repeat, record.confirm or 0)
        return Task(record, self.space.recorded(record.optimizer, record.hyperparameters), split)

    def superseded(self) -> set[str]:
        """Return the confirmation and budget runs of winners that a longer search has replaced."""
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

    def _task(self, key: SearchKey, proposal: Proposal) -> Task:
        name, repeat = key
        id_of = partial(trial_id, name, repeat, Phase.SEARCH)
        split = self.runner.data.splits("search", repeat)
        run = Run(
            trial_id=id_of(number=proposal.number),
            optimizer=proposal.config.optimizer,
            repeat=repeat,
            phase=Phase.SEARCH,
            # all optimizers share initial weights and the order of rows
            seed=derive_seed(self.options.seed, "search", repeat, proposal.root),
            split=split.digest,
            hyperparameters=proposal.config.hyperparameters(),
            epochs=proposal.epochs,
            search=name,
            number=proposal.number,
            bracket=proposal.bracket,
            rung=proposal.rung,
            continues=id_of(number=proposal.continues) if proposal.continues else None,
            initial_epoch=proposal.initial_epoch,
        )
        return Task(run, proposal.config, split)

    def _retraining(
        self,
        phase: Phase,
        name: str,
        repeat: int,
        trial: TrialRecord | None = None,
        *,
        count: int = 0,
        budget: float | None = None,
    ) -> Task:
        """Return a run on a split of the confirmation; all but CONFIRM share the split of run 0.

        It has the configuration of `trial`, else the default one; `count` is the number of a
        CONFIRM run, `budget` the fraction of the search's budget at which `trial` was the best.
        """
        config = self.space.default(name)
        if trial:  # perhaps of an earlier process, and not proposed again within a time limit
            config = self.space.recorded(name, trial.hyperparameters)
        number = trial.number if trial else ""
        confirm = count if phase is Phase.CONFIRM else None
        split = self.runner.data.splits("confirm", repeat, count)
        label = f"{budget:g}" if budget is not None else number
        run = Run(
            trial_id=trial_id(name, repeat, phase, number=label, confirm=confirm),
            optimizer=name,
            repeat=repeat,
            phase=phase,
            seed=derive_seed(self.options.seed, "confirm", repeat, count),
            split=split.digest,
            hyperparameters=config.hyperparameters(),
            epochs=trial.epochs if trial and budget is None else self.options.max_epochs,
            number=number,
            confirm=confirm,
            budget=budget,
        )
        return Task(run, config, split)
