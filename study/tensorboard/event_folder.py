"""The `tensorboard/` folder of a study while it runs: a view of the records, never their source.

A run for each optimizer and one for the report: three studies of twelve optimizers, and the columns
beside them, are the 40 runs up to which TensorBoard selects them by itself. A study with few enough
trials shows each of them, too. TensorBoard never forgets the hyperparameters that a run has
reported. So until the study has ended an optimizer's run is named after what it waits for ("adam
until look 2 of 5"): at each planned look all optimizers' runs are written again from the records,
under another name; in between only the progress of their searches is added. A run's folder holds no
other run: TensorBoard's Python reader shows a run for as long as its folder exists.
"""

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from study.common.metrics import ACCURACY
from study.common.text import as_text
from study.records.outcomes import by_optimizer
from study.records.trial_record import TrialRecord
from study.space.search_space import SearchSpace
from study.tensorboard import events as event
from study.tensorboard.events import RunFile
from study.tensorboard.hparams_columns import Tuned, begun_in, write_columns
from study.tensorboard.optimizer_runs import CONFIRMED, OptimizerRun, TrialRuns, tag_of
from study.verdicts.answer import Standing

FIGURE = re.compile(r"!\[.*\]\(figures/(\w+)\.png\)")  # in report.md
MOST_RUNS = 40  # that TensorBoard's Scalars, Images and Text select by themselves


class EventFolder:
    """The events of one study, kept up to date with its records; `recreate` makes one."""

    def __init__(self, folder: Path, optimizers: Iterable[str], *, every_trial: bool) -> None:
        self.folder, self.study = folder, folder.parent.name
        self._report = RunFile(folder / "report")
        self._optimizers = tuple(optimizers)
        self._records: dict[str, TrialRecord] = {}
        self._trials = TrialRuns(folder / "trials", self.study) if every_trial else None
        self._runs: dict[str, tuple[OptimizerRun, RunFile]] = {}

    @classmethod
    def recreate(
        cls,
        folder: Path,
        space: SearchSpace,
        known: Iterable[TrialRecord] = (),
        *,
        every_trial: bool = False,
        metric: str = ACCURACY,
    ) -> "EventFolder":
        """Delete the folder and start it again, with the records of an interrupted study.

        `every_trial` makes each trial a run, too; `metric` is the one that judges the study.
        """
        shutil.rmtree(folder, ignore_errors=True)
        events = cls(folder, space.optimizers, every_trial=every_trial)
        logs, first = folder.parents[1], tag_of(CONFIRMED, metric)
        begun, own = begun_in(logs), Tuned(space.table, metric)
        write_columns(logs, [own, *begun], first=first, several=len(begun) > 1)
        events.write(known)
        return events

    def begin(self, waits: str, standings: Mapping[str, Standing]) -> None:
        """Write the runs of all optimizers again, from the records so far.

        `waits` is what they wait for, a part of their names; empty once the study has ended.
        """
        for _, file in self._runs.values():
            shutil.rmtree(file.path.parent, ignore_errors=True)
        until = f" until {waits}" if waits else ""
        grouped = by_optimizer(self._optimizers, self._records.values())
        for name in self._optimizers:
            title = f"{name}{until}"
            records = grouped.get(name, [])
            run = OptimizerRun(self.study, name, title, records, standings.get(name))
            self._runs[name] = run, RunFile(self.folder / title)
            self._runs[name][1].append(run.events())

    def write(self, records: Iterable[TrialRecord]) -> None:
        """Add records."""
        new = list(records)
        self._records |= {record.trial_id: record for record in new}
        if self._trials:
            self._trials.write(new)
        if self._runs:
            for name, found in by_optimizer((), new).items():
                run, file = self._runs[name]
                file.append(run.more(found))

    def end(self, left_out: Iterable[str], standings: Mapping[str, Standing]) -> None:
        """Write all runs in their last form, without records that are no longer in force."""
        for trial_id in left_out:
            self._records.pop(trial_id, None)
        self.begin("", standings)

    def show_text(self, tag: str, lines: Iterable[str], *, step: int = 0) -> None:
        """Show sentences under Text."""
        listed = "\n".join(f"- {as_text(line)}" for line in lines)
        self._report.append([event.text(tag, listed, step=step)])

    def show_image(self, tag: str, png: bytes) -> None:
        """Show a PNG under Images."""
        self._report.append([event.image(tag, png)])

    def show_report(self, report: Path) -> None:
        """Show the words and figures of a report's folder."""
        words = (report / "report.md").read_text(encoding="utf-8")
        figures = FIGURE.findall(words)
        tags = {name: f"report/{number:02d}_{name}" for number, name in enumerate(figures, start=1)}
        listed = FIGURE.sub(lambda found: f"*under Images: {tags[found[1]]}*", words)
        self._report.append([event.text("report", listed)])
        for name, tag in tags.items():  # TensorBoard sorts by the tag
            self.show_image(tag, (report / "figures" / f"{name}.png").read_bytes())


def selects_all(runs: int, folder: Path) -> bool:
    """Return whether TensorBoard selects `runs` in `folder` and all runs beside it by itself."""
    beside = {
        path.parent
        for path in folder.parents[1].glob("*/tensorboard/**/*tfevents*")
        if folder not in path.parents
    }
    return len(beside) + runs <= MOST_RUNS
