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
from typing import Any, NamedTuple

import numpy as np

from study.common.bases import short_name
from study.common.command import in_flags, typed
from study.common.text import counted, join
from study.compare.write import write_comparison
from study.data.splits.study_splits import Splits
from study.features.backbone import load_backbone
from study.records.study_meta import StudyMeta, save_meta
from study.records.trial_record import TrialRecord
from study.records.trials_file import append_trials, rewrite_trials
from study.report.tables import standings
from study.report.write import write_report
from study.search.best_models import write_best
from study.search.budget import is_longer, promotions
from study.search.cluster.of_study import recorded_device, warn_of_other_rounding, workers_of
from study.search.cluster.trainer import ClusterTrainer
from study.search.cluster.workers import Workers
from study.search.image_subject import ImageSubject
from study.search.live_progress import Watch, round_line, round_name
from study.search.options import Options
from study.search.own_code import alone_words, code_facts
from study.search.plan import Plan, make_plan, model_summary, plan_lines
from study.search.programs_needed import (
    features_and_programs,
    heads_known,
    widths_in_force,
    widths_of,
)
from study.search.protocol import Protocol, Round
from study.search.row_subject import RowSubject
from study.search.runner import Runner
from study.search.study_folder import clear, locked, resume, study_meta
from study.search.subject import Subject
from study.search.tasks import Data, make_splits, view_rows
from study.search.time_spent import TimeSpent
from study.space.equal_values import without_equal_values
from study.space.search_space import SearchSpace
from study.tensorboard.event_folder import EventFolder, selects_all
from study.training.mappable import trained_alone
from study.training.population import Population, heads_at_once
from study.training.programs import Programs


def run(options: Options, space: SearchSpace, spent: TimeSpent) -> None:
    """Images or rows -> heads -> records -> report; here, or on the workers of a cluster.

    `spent` has begun with the command.
    """
    with workers_of(options) as workers:
        _run(options, space, spent, workers)


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


class Opened(NamedTuple):
    """A study that is about to train; its folder is locked."""

    planned: Planned
    folder: Path
    meta: StudyMeta  # in force
    known: list[TrialRecord]
    events: EventFolder


def _run(options: Options, space: SearchSpace, spent: TimeSpent, workers: Workers | None) -> None:
    planned = _planned(options, space, workers)
    subject = planned.subject
    if options.dry_run:
        split = planned.splits("search", 0)
        print(model_summary(planned.space, subject, split, options.max_epochs))
        return
    folder = options.logs / options.name
    with locked(folder):
        study = _opened(planned, folder)
        spent.ended("starting")
        first, fresh = planned.splits("search", 0), not study.known
        features, programs = features_and_programs(
            subject, options, planned.space, study.meta, first, planned.views, ahead=fresh
        )
        spent.ended("features")
        classes = len(study.meta.class_names)
        labels, views = subject.examples.labels, planned.views
        data = Data(features, labels, classes, planned.splits, views)
        trainer = _trainer(study, data, programs, workers)
        where = workers.words if workers is not None else lambda: ""
        protocol = _train(study, data, trainer, where)
        spent.ended("search")
        write_best(folder, protocol, subject)
        _report(options, folder, study.events)
        spent.ended("report")
        print(f"\n{spent.line(trainer.compiled_here)}")
        _next_commands(options)


def _planned(options: Options, space: SearchSpace, workers: Workers | None) -> Planned:
    """Look at everything, and say what will be done."""
    subject = open_subject(options, workers)
    print("\n".join([*subject.heading, *subject.remarks]))
    splits = make_splits(subject.examples, options)
    if workers is not None:
        workers.choose(recorded_device(options))
    space, equal = without_equal_values(space, len(splits("search", 0).train))
    alone = trained_alone(space)
    meta = study_meta(options, space, subject, splits, code_facts(space, alone))
    if workers is not None:
        meta = replace(meta, device={**meta.device, "rounding": workers.like.rounding})
    setting = [*_setting_lines(meta, subject), f"split: {in_flags(splits.origin, options)}"]
    print("\n".join(setting))
    for warning in splits.warnings(several=options.repeats != 1):
        print(f"warning: {in_flags(warning, options)}")
    for sentence in alone_words(alone):
        print(f"warning: {sentence}")
    plan, views = make_plan(options, space), view_rows(splits, options.views)
    confirmed = splits("confirm", 0)
    widths = widths_of(options, plan, space, subject, confirmed, views)
    meta = replace(meta, device={**meta.device, "widths": list(widths)})
    lines = plan_lines(plan, options, space, confirmed, widths)
    if meta.code and plan.race:
        names = join(list(meta.code))
        lines.append(f"plan: it goes on until the verdict on {names} is known, too")
    lines = [*(f"plan: {text}" for text in equal), *lines]
    print("\n".join(lines))
    return Planned(options, space, subject, splits, views, plan, meta, setting, lines)


def _opened(planned: Planned, folder: Path) -> Opened:
    """Begin the study in its folder, or go on; TensorBoard shows what there is."""
    options, space, subject = planned.options, planned.space, planned.subject
    if options.overwrite:
        clear(folder)
    meta, known = resume(folder, planned.meta, longer=partial(is_longer, options, space))
    print(f"study: {folder}" + (f", resumed after {len(known)} runs" if known else ""))
    every = selects_all(planned.plan.runs, folder / "tensorboard")
    events = EventFolder.recreate(
        folder / "tensorboard", space, known, every_trial=every, metric=options.metric
    )
    events.show_text(
        "search/plan", [*subject.heading, *planned.setting, _names_line(space), *planned.lines]
    )
    if grid := subject.samples(planned.splits("confirm", 0).train, seed=options.seed):
        events.show_image("data/training_images", grid)
    return Opened(planned, folder, meta, known, events)


def open_subject(options: Options, workers: Workers | None = None) -> Subject:
    """What a study with these options is of.

    Raises:
        UserError: it cannot be used.
    """
    if options.features is not None:
        return RowSubject(options.features, options, workers)
    return ImageSubject(options, workers)


def _trainer(
    study: Opened, data: Data, programs: Programs | None, workers: Workers | None
) -> Population | ClusterTrainer:
    """It has as many heads at once as were asked for, recorded or found best."""
    options, space, meta = study.planned.options, study.planned.space, study.meta
    arguments: dict[str, Any] = {
        "max_epochs": options.max_epochs,
        "widths": widths_in_force(meta),
        "alone": [name for name, facts in meta.code.items() if facts["alone"]],
        "metric": options.metric,
        "views": data.views,
    }
    if workers is not None:
        return ClusterTrainer(workers, data, space, heads_known(options, meta), **arguments)
    if "rounding" in meta.device:
        warn_of_other_rounding(meta.device["rounding"])

    def of_size(size: int) -> Population:
        return Population(
            data.features,
            data.row_labels,
            data.n_classes,
            size=size,
            programs=programs,
            **arguments,
        )

    if programs is not None:
        return of_size(programs.size)
    first = data.splits("search", 0)
    return of_size(heads_at_once(of_size, space, first.train, first.validation))


def _train(
    study: Opened,
    data: Data,
    trainer: Population | ClusterTrainer,
    where: Callable[[], str],
) -> Protocol:
    """Run the protocol; every batch of records is on the disk before the next is trained.

    `where` says who is at work elsewhere.
    """
    options, folder, events = study.planned.options, study.folder, study.events
    device = {**study.meta.device, "population": trainer.size}
    meta = replace(study.meta, device=device, finished=False)
    save_meta(folder, meta)
    watch = Watch(study.planned.plan, study.known, where)

    def begin(now: Round) -> None:
        watch.begin(now)
        events.begin(round_name(now), standings(meta, protocol.records()))
        if now.answer is not None:
            line = round_line(now, study.planned.plan)
            events.show_text("search/looks", [line], step=now.answer.looked)

    def save(records: list[TrialRecord]) -> None:
        append_trials(folder, records)
        events.write(records)
        watch.add(records)

    start = time.monotonic()
    runner = Runner(
        data,
        trainer,
        promotions(options.tuner, options.max_epochs, options.factor),
        study.known,
        save,
        versions=len(meta.versions) - 1,
    )
    protocol = Protocol(options, study.planned.space, runner, meta, begin)
    with watch:
        protocol.run()
    if protocol.superseded():
        rewrite_trials(folder, protocol.records())
    events.end(protocol.superseded(), standings(meta, protocol.records()))
    seconds = time.monotonic() - start
    print(_search_line(protocol, trainer, seconds, where()))
    total = {"search": round(meta.seconds.get("search", 0.0) + seconds, 1)}
    save_meta(folder, replace(meta, finished=True, partial=protocol.stopped, seconds=total))
    return protocol


def _search_line(
    protocol: Protocol, trainer: Population | ClusterTrainer, seconds: float, where: str
) -> str:
    return (
        f"search: {counted(len(protocol.runner.records), 'run')} in {seconds:.0f} s, "
        f"{counted(trainer.compilations, 'program')} compiled in "
        f"{trainer.compile_seconds:.0f} s, {counted(trainer.size, 'head')} at once"
        + f", on {where}"
        * bool(where)
    )


def _report(options: Options, folder: Path, events: EventFolder) -> None:
    """Write and print the report, and show it in TensorBoard."""
    write_report(options.logs, options.name)
    events.show_report(folder / "report")


def _next_commands(options: Options) -> None:
    """Say what to type next."""
    print("\nnext:")
    elsewhere = [] if options.logs == Path("logs") else ["--logs", options.logs]
    print(f"  {shlex.join(['tensorboard', '--logdir', str(options.logs)])}")
    print(f"  {typed('report', '--study', options.name, *elsewhere)}")


def _names_line(space: SearchSpace) -> str:
    return f"optimizers: {', '.join(space.optimizers)}"


def _setting_lines(meta: StudyMeta, subject: Subject) -> list[str]:
    sizes, device = meta.split_sizes, meta.device
    return [
        f"split: {sizes['train']} train, {sizes['validation']} validation, {sizes['test']} test",
        ", ".join(filter(None, (f"device: {device['kind']} ({device['name']})", subject.base))),
    ]


def run_each(every: Sequence[Options], space: SearchSpace, spent: TimeSpent) -> None:
    """Run a study for each of the options; several are compared.

    The time until now, in `spent`, is the first one's.

    Raises:
        UserError: see `load_backbone` and `run`.
    """
    if len(every) > 1:
        for options in every:
            _check_base(options)
    for place, options in enumerate(every, start=1):
        if len(every) > 1:
            name = short_name(options.base)
            print(f"\nstudy {place} of {len(every)}: {options.name}, base {name}")
        run(options, space, spent if place == 1 else TimeSpent())
    if len(every) > 1 and not every[0].dry_run:
        write_comparison(every[0].logs, [options.name for options in every])


def _check_base(options: Options) -> None:
    """Build it once and let it go: it is there, has weights, and takes such images."""
    load_backbone(
        options.weights,
        base=options.base,
        image_size=options.image_size,
        preprocess=options.preprocess,
        device=options.own_device,
    )
