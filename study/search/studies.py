"""One run of the search command: images or rows -> heads -> records -> report.

One study after another, one for each base, and the comparison of them at the end.

In: options that differ in their base, and a search space. What a user can have got wrong with any
base is said before the first one is trained. The same command resumes where it was stopped: studies
that are finished only write their report again.
"""

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from study.common.bases import short_name
from study.common.command import in_flags, typed
from study.common.text import counted, join
from study.compare.write import write_comparison
from study.data.splits.study_splits import Splits
from study.features.backbone import load_backbone
from study.machines.machines import CertainPrograms, Machines, TrainerOrder
from study.machines.opened import opened
from study.records.study_meta import StudyMeta, save_meta
from study.records.trial_record import TrialRecord
from study.records.trials_file import append_trials, rewrite_trials
from study.report.tables import standings
from study.report.write import write_report
from study.search.best_models import write_best
from study.search.budget import is_longer, promotions
from study.search.image_subject import ImageSubject, base_choice
from study.search.live_progress import Watch, round_line, round_name
from study.search.options import Options
from study.search.own_code import alone_words, code_facts
from study.search.plan import Plan, make_plan, model_summary, plan_lines
from study.search.programs_needed import (
    certain_programs,
    heads_known,
    trained_by_keras,
    widths_in_force,
    widths_of,
)
from study.search.protocol import Round, StudyProtocol
from study.search.row_subject import RowSubject
from study.search.runner import Runner
from study.search.study_folder import clear, locked, recorded_device, resume, study_meta
from study.search.subject import Subject
from study.search.tasks import Data, count_rows, make_splits, view_rows
from study.search.time_spent import TimeSpent
from study.space.equal_values import without_equal_values
from study.space.search_space import SearchSpace
from study.tensorboard.event_folder import EventFolder, selects_all
from study.training.mappable import trained_alone
from study.training.places import Trainer
from study.training.runs import TrainingRules


def run_study(options: Options, space: SearchSpace, spent: TimeSpent) -> None:
    """Run a study on this process or a cluster, from images or rows to the report.

    Args:
        options: of the study.
        space: to be searched.
        spent: has begun with the command.

    Raises:
        UserError: a mistake that the user can mend.
    """
    with opened(options.cluster, options.device, options.cache_dir) as machines:
        planned = _planned(options, space, machines)
        if options.dry_run:
            split = planned.splits("search", 0)
            print(model_summary(planned.space, planned.subject, split, options.max_epochs))
            return
        with locked(planned.folder):
            _run(planned, machines, spent)


class Planned(NamedTuple):
    """A study whose folder is not open yet."""

    options: Options
    space: SearchSpace
    subject: Subject
    splits: Splits
    views: np.ndarray | None  # see `view_rows`
    plan: Plan
    meta: StudyMeta
    setting: list[str]  # split and device in words
    lines: list[str]  # the plan in words

    @property
    def folder(self) -> Path:
        """The folder of the study."""
        return self.options.logs / self.options.name


class Opened(NamedTuple):
    """A study that is about to train; its folder is locked."""

    planned: Planned
    meta: StudyMeta  # in force
    known: list[TrialRecord]
    events: EventFolder


def _run(planned: Planned, machines: Machines, spent: TimeSpent) -> None:
    study = _opened(planned)
    spent.ended("starting")
    data = _data(study, machines)
    spent.ended("features")
    trainer = _trainer(study, data, machines)
    protocol = _train(study, data, trainer, machines.words)
    spent.ended("search")
    write_best(planned.folder, protocol, planned.subject)
    write_report(planned.options.logs, planned.options.name)
    study.events.show_report(planned.folder / "report")
    spent.ended("report")
    print(f"\n{spent.line(trainer.compiled_here)}")
    _next_commands(planned.options)


def _planned(options: Options, space: SearchSpace, machines: Machines) -> Planned:
    """Look at everything, and say what will be done."""
    subject = open_subject(options, machines)
    print("\n".join([*subject.heading, *subject.remarks]))
    splits = make_splits(subject.examples, options)
    machines.choose(recorded_device(options))
    space, equal = without_equal_values(space, len(splits("search", 0).train))
    alone = trained_alone(space)
    meta = study_meta(options, space, subject, splits, code_facts(space, alone))
    setting = [*_setting_lines(meta, subject), f"split: {in_flags(splits.origin, options)}"]
    warnings = splits.warnings(several=options.repeats != 1)
    warnings = [*(in_flags(text, options) for text in warnings), *alone_words(alone)]
    print("\n".join([*setting, *(f"warning: {text}" for text in warnings)]))
    plan, views = make_plan(options, space), view_rows(splits, options.views)
    confirmed = splits("confirm", 0)
    widths = widths_of(options, plan, space, subject, confirmed, views)
    lines = [f"plan: {text}" for text in equal]
    lines += plan_lines(plan, options, space, confirmed, widths)
    if meta.code and plan.race:
        names = join(list(meta.code))
        lines.append(f"plan: it goes on until the verdict on {names} is known, too")
    print("\n".join(lines))
    meta = _on_machines(meta, machines, widths)
    return Planned(options, space, subject, splits, views, plan, meta, setting, lines)


def _setting_lines(meta: StudyMeta, subject: Subject) -> list[str]:
    sizes, device = meta.split_sizes, meta.device
    return [
        f"split: {sizes['train']} train, {sizes['validation']} validation, {sizes['test']} test",
        ", ".join(filter(None, (f"device: {device['kind']} ({device['name']})", subject.base))),
    ]


def _on_machines(meta: StudyMeta, machines: Machines, widths: Sequence[int]) -> StudyMeta:
    """The meta with what all runs share: how workers round, and padded widths."""
    device = {**meta.device, "widths": list(widths)}
    if machines.rounding:
        device["rounding"] = machines.rounding
    return replace(meta, device=device)


def _opened(planned: Planned) -> Opened:
    """Begin the study in its folder, or go on; TensorBoard shows what there is."""
    options, space, folder = planned.options, planned.space, planned.folder
    if options.overwrite:
        clear(folder)
    meta, known = resume(folder, planned.meta, longer=partial(is_longer, options, space))
    print(f"study: {folder}" + (f", resumed after {len(known)} runs" if known else ""))
    every = selects_all(planned.plan.runs, folder / "tensorboard")
    events = EventFolder.recreate(
        folder / "tensorboard", space, known, every_trial=every, metric=options.metric
    )
    _show_plan(planned, events)
    return Opened(planned, meta, known, events)


def _show_plan(planned: Planned, events: EventFolder) -> None:
    """Show in TensorBoard what was printed, and some of the images."""
    subject = planned.subject
    names = f"optimizers: {', '.join(planned.space.optimizers)}"
    events.show_text("search/plan", [*subject.heading, *planned.setting, names, *planned.lines])
    train = planned.splits("confirm", 0).train
    if grid := subject.samples(train, seed=planned.options.seed):
        events.show_image("data/training_images", grid)


def open_subject(options: Options, machines: Machines) -> Subject:
    """Open the images or rows that a study with these options is of.

    Raises:
        UserError: it cannot be used.
    """
    if options.features is not None:
        return RowSubject(options.features, options, machines)
    return ImageSubject(options, machines)


def _data(study: Opened, machines: Machines) -> Data:
    """The rows, computed while programs are compiled that the study needs for certain.

    What a study that goes on still has to train shows later, so nothing is certain there.
    """
    planned, meta = study.planned, study.meta
    options, subject, views = planned.options, planned.subject, planned.views
    labels, classes = subject.examples.labels, len(meta.class_names)
    first = planned.splits("search", 0)
    certain = [] if study.known else certain_programs(planned.space, meta, first)
    shape = count_rows(len(labels), views), subject.n_features
    size = heads_known(options, meta)
    with machines.ahead(CertainPrograms(shape, classes, options.metric, size, certain)):
        features = subject.features(views)
    return Data(features, labels, classes, planned.splits, views)


def _trainer(study: Opened, data: Data, machines: Machines) -> Trainer:
    """A trainer of as many heads at once as were asked for, recorded or found best."""
    options, space, meta = study.planned.options, study.planned.space, study.meta
    rules = TrainingRules(
        max_epochs=options.max_epochs,
        widths=widths_in_force(meta),
        alone=trained_by_keras(meta),
        metric=options.metric,
    )
    split = data.splits("search", 0)
    first = split.train, split.validation
    size = heads_known(options, meta)
    return machines.trainer(TrainerOrder(data.table, rules, space, first, size))


class Journal:
    """Saves and shows what a study has trained, while it trains.

    Args:
        study: whose folder is written.
        meta: in force.
        where: says who is at work elsewhere, in words.
    """

    def __init__(self, study: Opened, meta: StudyMeta, where: Callable[[], str]) -> None:
        self._plan, self._folder = study.planned.plan, study.planned.folder
        self._events, self._meta = study.events, meta
        self.watch = Watch(self._plan, study.known, where)

    def begin(self, now: Round, records: list[TrialRecord]) -> None:
        """Show the round that is about to run, and where the optimizers stand."""
        self.watch.begin(now)
        self._events.begin(round_name(now), standings(self._meta, records))
        if now.answer is not None:
            line = round_line(now, self._plan)
            self._events.show_text("search/looks", [line], step=now.answer.looked)

    def save(self, records: list[TrialRecord]) -> None:
        """Write new records to the disk, then show them."""
        append_trials(self._folder, records)
        self._events.write(records)
        self.watch.add(records)

    def end(self, superseded: set[str], records: list[TrialRecord]) -> None:
        """Leave the records in force alone, and show where the optimizers stand."""
        if superseded:
            rewrite_trials(self._folder, records)
        self._events.end(superseded, standings(self._meta, records))


def _train(study: Opened, data: Data, trainer: Trainer, where: Callable[[], str]) -> StudyProtocol:
    """Run the protocol; every batch of records is on the disk before the next is trained.

    `where` says who is at work elsewhere.
    """
    options, folder = study.planned.options, study.planned.folder
    device = {**study.meta.device, "population": trainer.size}
    meta = replace(study.meta, device=device, finished=False)
    save_meta(folder, meta)
    journal = Journal(study, meta, where)
    start = time.monotonic()
    runner = Runner(
        data,
        trainer,
        promotions(options.tuner, options.max_epochs, options.factor),
        study.known,
        journal.save,
        versions=len(meta.versions) - 1,
    )
    protocol = StudyProtocol(options, study.planned.space, runner, meta, journal.begin)
    with journal.watch:
        protocol.run()
    journal.end(protocol.superseded(), protocol.records())
    seconds = time.monotonic() - start
    print(_search_line(len(runner.records), trainer, seconds, where()))
    total = {"search": round(meta.seconds.get("search", 0.0) + seconds, 1)}
    save_meta(folder, replace(meta, finished=True, partial=protocol.stopped, seconds=total))
    return protocol


def _search_line(runs: int, trainer: Trainer, seconds: float, where: str) -> str:
    line = (
        f"search: {counted(runs, 'run')} in {seconds:.0f} s, "
        f"{counted(trainer.compilations, 'program')} compiled in "
        f"{trainer.compile_seconds:.0f} s, {counted(trainer.size, 'head')} at once"
    )
    return f"{line}, on {where}" if where else line


def _next_commands(options: Options) -> None:
    """Say what to type next."""
    print("\nnext:")
    elsewhere = [] if options.logs == Path("logs") else ["--logs", options.logs]
    print(f"  {shlex.join(['tensorboard', '--logdir', str(options.logs)])}")
    print(f"  {typed('report', '--study', options.name, *elsewhere)}")


def run_each(every: Sequence[Options], space: SearchSpace, spent: TimeSpent) -> None:
    """Run a study for each of the options; several are compared.

    The time until now, in `spent`, is the first one's.

    Raises:
        UserError: see `load_backbone` and `run_study`.
    """
    if len(every) > 1:
        for options in every:
            _check_base(options)
    for place, options in enumerate(every, start=1):
        if len(every) > 1:
            name = short_name(options.base)
            print(f"\nstudy {place} of {len(every)}: {options.name}, base {name}")
        run_study(options, space, spent if place == 1 else TimeSpent())
    if len(every) > 1 and not every[0].dry_run:
        write_comparison(every[0].logs, [options.name for options in every])


def _check_base(options: Options) -> None:
    """Build it once and let it go: it is there, has weights, and takes such images."""
    load_backbone(**base_choice(options)._asdict(), device=options.own_device)
