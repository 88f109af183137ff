"""The protocol of a study: features and a search space in, records out.

Three phases (DEFAULT, SEARCH, CONFIRM) make up every repeat. All optimizers of a repeat see the
same splits and seeds (paired), the search and the confirmation use different ones, and the test
rows are looked at only by runs that nothing is selected from. The trials of all searches are
collected in waves and trained side by side. Every seed, split and proposal is a function of the
study's seed and of earlier results, so a run that stands in the records is never trained again and
a killed study continues where it was.
"""

import time
from functools import partial

from study.common.seeds import derive_seed
from study.records.outcomes import search_winner
from study.records.trial_record import Phase, Run, TrialRecord, trial_id
from study.search.budget import budget_of, searches_of
from study.search.options import Options
from study.search.oracles import Proposal, Search
from study.search.runner import Runner
from study.search.tasks import Task
from study.space.head_config import HeadConfig
from study.space.space import SearchSpace


class Protocol:
    """Runs the phases of a study.

    Args:
        options: of the study.
        space: with the optimizers to compare.
        runner: trains, and holds the records.
    """

    def __init__(self, options: Options, space: SearchSpace, runner: Runner) -> None:
        self.options, self.space, self.runner = options, space, runner
        self.stopped = ""  # why the search ended early
        self._started = time.monotonic()
        budget = budget_of(options)
        self.searches = {
            (name, repeat): Search(
                space, optimizer, budget, seed=derive_seed(options.seed, "proposals", repeat)
            )
            for repeat in range(options.repeats)
            for name, optimizer in searches_of(options, space).items()
        }

    def _default_tasks(self) -> list[Task]:
        """One run of every optimizer at its untuned settings, on the confirmation's split.

        Left out where the space has one point only: there, untuned and tuned are the same.
        """
        return [
            self._rerun(Phase.DEFAULT, repeat, 0, self.space.default(name), None)
            for repeat in range(self.options.repeats)
            for name in self.space.optimizers
            if self.space.points(name) > 1
        ]

    def search(self) -> None:
        """Ask all searches, train what they propose, tell them, until none proposes any more.

        The untuned runs ride along with the first proposals: they keep no core waiting.
        """
        untuned = self._default_tasks()
        while not self.stopped:
            wave = [
                (search, proposal, self._task(key, repeat, proposal))
                for (key, repeat), search in self.searches.items()
                for proposal in search.ask()
            ]
            if not wave:
                return
            tasks = [*untuned, *(task for _, _, task in wave)]
            untuned = []
            done = {record.trial_id: record for record in self._until_time_is_over(tasks)}
            for search, proposal, task in wave:
                if task.run.trial_id in done:  # all of them, unless the time is over
                    search.tell(proposal.number, self.runner.score(done[task.run.trial_id]))

    def confirm(self) -> list[TrialRecord]:
        """Rerun the winner of every search and optimizer with fresh seeds on a fresh split."""
        tasks = []
        for repeat in range(self.options.repeats):
            for name in self.space.optimizers:
                winner = self.winner(name, repeat)
                if winner is None:
                    continue
                config = self.runner.tasks[winner.trial_id].config
                tasks += [
                    self._rerun(Phase.CONFIRM, repeat, number, config, winner)
                    for number in range(self.options.confirm)
                ]
        return self.runner.run(tasks)

    def winner(self, optimizer: str, repeat: int) -> TrialRecord | None:
        """The trial that a repeat's search has found for an optimizer."""
        return search_winner(
            record
            for record in self.runner.records.values()
            if record.phase == Phase.SEARCH
            and (record.optimizer, record.repeat) == (optimizer, repeat)
        )

    def records(self) -> list[TrialRecord]:
        """Every record in force, in the order of trial ids, as they stand in the file."""
        left_out = self.superseded()
        found = self.runner.records
        return [found[name] for name in sorted(found) if name not in left_out]

    def superseded(self) -> set[str]:
        """Confirmation runs of winners that a longer search has since replaced."""
        return {
            record.trial_id
            for record in self.runner.records.values()
            if record.phase == Phase.CONFIRM and record.trial_id not in self.runner.tasks
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
        self, phase: Phase, repeat: int, count: int, config: HeadConfig, winner: TrialRecord | None
    ) -> Task:
        """A run on the repeat's confirmation split; untuned ones are paired with run 0."""
        number = winner.number if winner else ""
        confirm = count if winner else None
        split = self.runner.data.splits("confirm", repeat)
        run = Run(
            trial_id=trial_id(config.optimizer, repeat, phase, number=number, confirm=confirm),
            optimizer=config.optimizer,
            repeat=repeat,
            phase=phase,
            seed=derive_seed(self.options.seed, "confirm", repeat, count),
            split=split.digest,
            hyperparameters=config.hyperparameters(),
            epochs=winner.epochs if winner else self.options.max_epochs,
            number=number,
            confirm=confirm,
        )
        return Task(run, config, split)

    def _until_time_is_over(self, tasks: list[Task]) -> list[TrialRecord]:
        limit = self.options.time_limit

        def enough() -> bool:
            over = limit is not None and time.monotonic() - self._started > 60 * limit
            if over:
                self.stopped = f"the time limit of {limit:g} minutes was reached"
            return over

        return self.runner.run(tasks, enough=enough)
