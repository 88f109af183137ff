"""Run studies: options and a search space come in; records, models and a report go out.

There is one study for each base. What can be wrong with any base is reported before the first study
trains, and several studies are compared at the end. The same command resumes an interrupted study;
of a finished one it only rewrites the models and the report.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from study.common.bases import short_name
from study.common.command import in_flags
from study.common.text import counted, printable
from study.compare.write import write_comparison
from study.data.splits.study_splits import Splits
from study.features.backbone import load_backbone
from study.machines.machines import Machines, TrainerOrder
from study.machines.opened import opened
from study.records.predicted_classes import (
    Labelled,
    PredictedClasses,
    PredictedRun,
    append_predicted,
)
from study.records.study_meta import StudyMeta, save_meta
from study.records.trial_record import TrialRecord
from study.records.trials_file import append_trials, rewrite_trials
from study.report.tables import standings
from study.report.write import write_report
from study.search.best_models import write_best
from study.search.budget import is_longer, promotions
from study.search.expected_time import Expected
from study.search.image_subject import ImageSubject, base_choice
from study.search.live_progress import Watch, round_line, round_name
from study.search.options import Options
from study.search.own_code import alone_words, code_facts, idle_rate_words, printed_words
from study.search.plan import Plan, make_plan, model_summary, plan_lines, question_lines
from study.search.programs_needed import (
    certain_programs,
    expected,
    heads_known,
    program_shape,
    trained_by_keras,
    widths_of,
)
from study.search.protocol import Round, StudyProtocol
from study.search.row_subject import RowSubject
from study.search.runner import Runner
from study.search.study_folder import (
    clear,
    locked,
    recorded_device,
    resume,
    study_meta,
    with_predictions,
)
from study.search.subject import Subject
from study.search.tasks import Data, make_splits, view_rows
from study.search.time_spent import TimeSpent
from study.space.equal_values import without_equal_values
from study.space.search_space import SearchSpace
from study.tensorboard.event_folder import EventFolder, selects_all
from study.training.mappable import trained_alone
from study.training.places import Trainer
from study.training.runs import TrainingRules


def run_each(every: Sequence[Options], space: SearchSpace, spent: TimeSpent) -> None:
    """Run a study for each of the options, which differ in their base; compare several studies.

    The time that is `spent` already counts for the first study.

    Raises:
        UserError: a mistake that the user can fix.
    """
    several = len(every) > 1
    if several:  # a wrong base fails before the first study trains, not hours later
        for options in every:
            device = "cpu" if options.cluster else options.device  # a GPU here is for a worker
            load_backbone(**base_choice(options)._asdict(), device=device)
    for number, options in enumerate(every, start=1):
        if several:
            name = short_name(options.base)
            print(f"\nstudy {number} of {len(every)}: {options.name}, base {name}")
        run_study(options, space, spent if number == 1 else TimeSpent())
    if several and not every[0].dry_run:
        write_comparison(every[0].logs, [options.name for options in every])


def run_study(options: Options, space: SearchSpace, spent: TimeSpent) -> None:
    """Run one study on this process or a cluster; for a dry run, print only its plan."""
    with opened(options.cluster, options.device, options.cache_dir) as machines:
        study = _prepared(options, space, machines)
        if options.dry_run:
            if not options.cluster and (words := study.subject.time_words(study.views)):
                print(f"plan: {words}")
            split = study.splits("search", 0)
            print(model_summary(study.space, study.subject, split, options.max_epochs))
            return
        with locked(study.folder):
            _run(study, machines, spent)


class PreparedStudy(NamedTuple):
    """A study whose data were inspected; `known` is empty until its folder is open."""

    options: Options
    space: SearchSpace
    subject: Subject
    splits: Splits
    views: Int32[np.ndarray, "N V"] | None  # see `view_rows`
    plan: Plan
    meta: StudyMeta
    lines: list[str]  # data, split, device and plan in words, for TensorBoard
    predicted: PredictedClasses  # grows with the study
    time: Expected | None  # None: unknown
    known: Sequence[TrialRecord] = ()  # records of an earlier run

    @property
    def folder(self) -> Path:
        """Folder of the study."""
        return self.options.logs / self.options.name


def _run(study: PreparedStudy, machines: Machines, spent: TimeSpent) -> None:
    study = _resumed(study, machines.rounding)
    events = _events(study)
    spent.ended("starting")
    data = _data(study, machines)
    spent.ended("features")
    trainer = _trainer(study, data, machines)
    protocol = _train(study, data, trainer, events, machines.words)
    spent.ended("search")
    try:
        write_best(study.folder, protocol, study.subject)
    finally:  # also on a full disk: all runs are recorded
        write_report(study.options.logs, study.options.name)
    events.show_report(study.folder / "report")
    spent.ended("report")
    print("\n".join([*printed_words(), f"\n{spent.line(trainer.compiled_here)}"]))


def _prepared(options: Options, space: SearchSpace, machines: Machines) -> PreparedStudy:
    """Inspect the data, and print what will be done."""
    subject = open_subject(options, machines)
    print("\n".join(map(printable, [*subject.heading, *subject.remarks])))
    splits = make_splits(subject.examples, options)
    machines.choose(recorded_device(options))
    space, equal = without_equal_values(space, len(splits("search", 0).train))
    alone = trained_alone(space)
    meta = study_meta(options, space, subject, splits, code_facts(space, alone))
    sizes, device = meta.split_sizes, meta.device
    about = [
        f"split: {sizes['train']} train, {sizes['validation']} validation, {sizes['test']} test",
        ", ".join(filter(None, (f"device: {device['kind']} ({device['name']})", subject.base))),
        f"split: {in_flags(splits.origin, options)}",
    ]
    warnings = splits.warnings(several=options.repeats != 1)
    warnings = [in_flags(text, options) for text in warnings]
    warnings += alone_words(alone) + idle_rate_words(space) + meta.data.get("base_doubts", [])
    print("\n".join(map(printable, [*about, *(f"warning: {text}" for text in warnings)])))
    plan, views = make_plan(options, space), view_rows(splits, options.views)
    confirmed = splits("confirm", 0)
    widths = widths_of(options, plan, space, subject, confirmed, views)
    lines = [f"plan: {text}" for text in equal]
    time = None
    if not options.cluster:  # whose workers may come and go
        time = expected(options, space, subject, confirmed, views, widths)
    lines += plan_lines(plan, options, space, confirmed, widths, time)
    lines += question_lines(plan, meta)
    print("\n".join(map(printable, lines)))
    meta = replace(meta, device={**device, "widths": list(widths)})
    shown = [*subject.heading, *about, *lines]
    predicted = PredictedClasses()
    return PreparedStudy(options, space, subject, splits, views, plan, meta, shown, predicted, time)


def open_subject(options: Options, machines: Machines) -> Subject:
    """Open the images or rows of a study with these options."""
    if options.features is not None:
        return RowSubject(options.features, options, machines)
    return ImageSubject(options, machines)


def _resumed(study: PreparedStudy, rounding: str) -> PreparedStudy:
    """Start the study in its folder, or resume it: with its records and the meta in force."""
    options, folder = study.options, study.folder
    new = replace(study.meta, device={**study.meta.device, "rounding": rounding})
    if options.overwrite:
        clear(folder)
    meta, known = resume(folder, new, longer=partial(is_longer, options, study.space))
    predicted, known = with_predictions(folder, known)
    print(f"study: {printable(folder)}" + (f", resumed after {len(known)} runs" if known else ""))
    return study._replace(meta=meta, known=known, predicted=predicted)


def _events(study: PreparedStudy) -> EventFolder:
    """Show in TensorBoard the records so far, what was printed, and some of the images."""
    folder, metric = study.folder / "tensorboard", study.options.metric
    every = selects_all(study.plan.runs, folder)
    events = EventFolder.recreate(
        folder, study.space, study.known, every_trial=every, metric=metric
    )
    events.show_text("search/plan", study.lines)
    train = study.splits("confirm", 0).train
    if grid := study.subject.samples(train, seed=study.options.seed):
        events.show_image("data/training_images", grid)
    return events


def _data(study: PreparedStudy, machines: Machines) -> Data:
    """Compute the rows; meanwhile compile the programs that a new study needs for certain.

    Which programs a resumed study still needs is not known yet.
    """
    meta, subject, views = study.meta, study.subject, study.views
    first = study.splits("search", 0)
    certain = [] if study.known else certain_programs(study.space, meta, first)
    size = heads_known(study.options, meta)
    shape = program_shape(subject, views, size, meta.metric) if size else None
    with machines.ahead(shape, certain):
        features = subject.features(views)
    labels = subject.examples.labels
    return Data(features, labels, len(meta.class_names), study.splits, views)


def _trainer(study: PreparedStudy, data: Data, machines: Machines) -> Trainer:
    """Return a trainer of as many heads at a time as were asked for, recorded or found best."""
    rules = TrainingRules(
        max_epochs=study.options.max_epochs,
        widths=tuple(study.meta.device["widths"]),
        alone=trained_by_keras(study.meta),
        metric=study.meta.metric,
    )
    first = study.splits("search", 0)[:2]
    size = heads_known(study.options, study.meta)
    return machines.trainer(TrainerOrder(data.table, rules, study.space, first, size))


class Journal:
    """Saves and shows what a study has trained, while it trains; for the rest see `Watch`."""

    def __init__(
        self,
        study: PreparedStudy,
        events: EventFolder,
        where: Callable[[], str],
        programs: Callable[[], int],
    ) -> None:
        self._study, self._events = study, events
        left = partial(study.time.left, programs) if study.time else None
        self.watch = Watch(study.plan, study.known, where, left)

    def begin(self, now: Round, records: list[TrialRecord]) -> None:
        """Show the round that is about to run, and the standings of the optimizers."""
        self.watch.begin(now)
        self._events.begin(round_name(now), standings(self._study.meta, records))
        if now.answer is not None:
            line = round_line(now, self._study.plan)
            self._events.show_text("search/looks", [line], step=now.answer.looked)

    def keep(self, runs: list[PredictedRun]) -> None:
        """Write what confirmation runs predict to the disk."""
        examples = self._study.subject.examples
        labelled = Labelled(examples.labels, examples.units, len(examples.class_names))
        append_predicted(self._study.folder, self._study.predicted, labelled, runs)

    def save(self, records: list[TrialRecord]) -> None:
        """Write new records to the disk, then show them."""
        append_trials(self._study.folder, records)
        self._events.write(records)
        self.watch.add(records)

    def end(self, superseded: set[str], records: list[TrialRecord]) -> None:
        """Keep only the records in force, and show the standings of the optimizers."""
        if superseded:
            rewrite_trials(self._study.folder, records)
        self._events.end(superseded, standings(self._study.meta, records))


def _train(
    study: PreparedStudy,
    data: Data,
    trainer: Trainer,
    events: EventFolder,
    where: Callable[[], str],
) -> StudyProtocol:
    """Run the protocol; each batch of records is on the disk before the next one is trained."""
    options, old = study.options, study.meta
    meta = replace(old, device={**old.device, "population": trainer.size}, finished=False)
    save_meta(study.folder, meta)
    journal = Journal(study, events, where, lambda: trainer.compilations)
    start = time.monotonic()
    promoted = promotions(options.tuner, options.max_epochs, options.factor)
    runner = Runner(
        *(data, trainer, promoted, study.known, journal.save),
        keep=journal.keep,
        versions=len(meta.versions) - 1,
    )
    protocol = StudyProtocol(options, study.space, runner, meta, journal.begin)
    with journal.watch:
        protocol.run()
    journal.end(protocol.superseded(), protocol.records())
    seconds = time.monotonic() - start
    print(
        f"search: {counted(len(runner.records), 'run')} in {seconds:.0f} s, "
        f"{counted(trainer.compilations, 'program')} compiled in "
        f"{trainer.compile_seconds:.0f} s, {counted(trainer.size, 'head')} at a time"
        + (f", on {words}" if (words := where()) else "")
    )
    total = {"search": round(meta.seconds.get("search", 0.0) + seconds, 1)}
    runs = len(protocol.records())
    meta = replace(meta, finished=True, partial=protocol.stopped, runs=runs, seconds=total)
    save_meta(study.folder, meta)
    return protocol
