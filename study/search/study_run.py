"""One run of the search command: images -> features -> heads -> records -> report."""

import shlex
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from study.common.command import in_flags, typed
from study.common.text import printable
from study.features.extract import extract_features
from study.features.vgg16 import Backbone, load_backbone
from study.images.image_set import ImageSet
from study.images.loading import load_images
from study.images.samples import sample_grid
from study.records.study_meta import StudyMeta, save_meta
from study.records.trial_record import TrialRecord
from study.records.trials_file import append_trials, rewrite_trials
from study.report.analysis.wording import counted
from study.report.write import write_report
from study.search.best_models import write_best
from study.search.budget import promotions
from study.search.live_progress import Watch
from study.search.options import Options
from study.search.plan import Plan, make_plan, model_summary, plan_lines
from study.search.protocol import Protocol
from study.search.runner import Runner
from study.search.study_facts import study_meta
from study.search.study_folder import clear, locked, resume
from study.search.tasks import Data, make_splits
from study.search.tensorboard import EventFolder, ReportEvents
from study.space.equal_values import without_equal_values
from study.space.space import SearchSpace
from study.training.population import Population
from study.training.population_size import heads_at_once
from study.training.program_key import few_widths


def run(options: Options, space: SearchSpace) -> int:
    """Images -> features -> heads -> records -> report."""
    images = load_images(Path(options.data) if options.data else None, strict=options.strict)
    _say_images(images)
    splits = make_splits(images, options)
    backbone = load_backbone(
        options.weights,
        image_size=options.image_size,
        preprocess=options.preprocess,
        device=options.device,
    )
    space, equal = without_equal_values(space, len(splits("search", 0).train))
    meta = study_meta(options, space, images, backbone, splits)
    _say_setting(meta)
    for warning in splits.warnings(several=options.repeats != 1):
        print(f"warning: {in_flags(warning, options)}")
    plan = make_plan(options, space)
    lines = plan_lines(plan, options, space, splits("confirm", 0))
    print("\n".join([*(f"plan: {text}" for text in equal), *lines]))
    if options.dry_run:
        print(model_summary(space, backbone, len(images.class_names)))
        return 0
    folder = options.logs / options.name
    with locked(folder):
        if options.overwrite:
            clear(folder)
        meta, known = resume(folder, meta)
        print(f"study: {folder}" + (f", resumed after {len(known)} runs" if known else ""))
        features = _features(options, images, backbone)
        data = Data(features, images.labels, len(images.class_names), splits)
        protocol = _train(options, space, plan, folder, meta, data, known)
        write_best(folder, protocol, images, backbone)
        _report(options, folder, images, data)
    return 0


def _features(options: Options, images: ImageSet, backbone: Backbone) -> np.ndarray:
    """The (N, 512) features; says what had to be computed."""
    found = extract_features(images, backbone, cache_dir=options.cache_dir)
    if found.computed:
        rate = found.computed / max(found.seconds, 1e-9)
        print(
            f"features: {found.computed} images computed in {found.seconds:.0f} s "
            f"({rate:.1f} images/s), {found.cached} from the cache"
        )
    else:
        print(f"features: nothing had to be computed, all {found.cached} are in the cache")
    return found.features


def _population(options: Options, space: SearchSpace, meta: StudyMeta, data: Data) -> Population:
    """The trainer, with as many heads at once as were asked for, recorded or found best."""

    def of_size(size: int) -> Population:
        return Population(
            data.features,
            data.labels,
            data.n_classes,
            max_epochs=options.max_epochs,
            size=size,
            widths=few_widths(space.dense_widths()),
        )

    size = options.population or meta.device.get("population")
    if size is None:
        first = data.splits("search", 0)
        size = heads_at_once(of_size, space, first.train, first.validation)
    return of_size(size)


def _train(
    options: Options,
    space: SearchSpace,
    plan: Plan,
    folder: Path,
    meta: StudyMeta,
    data: Data,
    known: list[TrialRecord],
) -> Protocol:
    """Run the protocol; every batch of records is on the disk before the next is trained."""
    population = _population(options, space, meta, data)
    device = {**meta.device, "population": population.size}
    meta = replace(meta, device=device, finished=False)
    save_meta(folder, meta)
    events = EventFolder.recreate(folder / "tensorboard", space, known)
    watch = Watch(plan, known)

    def save(records: list[TrialRecord]) -> None:
        append_trials(folder, records)
        events.write(records)
        watch.add(records)

    start = time.monotonic()
    promoted = promotions(options.tuner, options.max_epochs, options.factor)
    runner = Runner(data, population, promoted, known, save, cross_fitted=meta.cross_fitted)
    protocol = Protocol(options, space, runner, meta, watch.begin)
    with watch:
        protocol.run()
    if protocol.superseded():
        rewrite_trials(folder, protocol.records())
    seconds = time.monotonic() - start
    print(
        f"search: {counted(len(protocol.runner.records), 'run')} in {seconds:.0f} s, "
        f"{counted(population.compilations, 'program')} compiled in "
        f"{population.compile_seconds:.0f} s, {counted(population.size, 'head')} at once"
    )
    total = {"search": round(meta.seconds.get("search", 0.0) + seconds, 1)}
    save_meta(folder, replace(meta, finished=True, partial=protocol.stopped, seconds=total))
    return protocol


def _report(options: Options, folder: Path, images: ImageSet, data: Data) -> None:
    """Write and print the report, show it in TensorBoard, and say what to type next."""
    write_report(options.logs, options.name)
    shown = ReportEvents.recreate(folder / "tensorboard")
    rows = data.splits("confirm", 0).train
    shown.image("data/training_images", sample_grid(images, rows, seed=options.seed))
    for path in sorted((folder / "report" / "figures").glob("*.png")):
        shown.image(f"report/{path.stem}", path.read_bytes())
    shown.text("report", (folder / "report" / "report.md").read_text(encoding="utf-8"))
    print("\nnext:")
    elsewhere = [] if options.logs == Path("logs") else ["--logs", options.logs]
    print(f"  {shlex.join(['tensorboard', '--logdir', str(options.logs)])}")
    print(f"  {typed('report', '--study', options.name, *elsewhere)}")


def _say_images(images: ImageSet) -> None:
    """Count the images; name every file that was left out."""
    print(
        f"images: {len(images.paths)} in {len(images.class_names)} classes"
        + (f", {images.ignored} other files ignored" if images.ignored else "")
    )
    for problem in images.problems:
        print(f"left out: {problem}")
    for group in images.duplicates:
        print("the same content in several classes: " + ", ".join(map(printable, group)))


def _say_setting(meta: StudyMeta) -> None:
    sizes = meta.split_sizes
    print(f"split: {sizes['train']} train, {sizes['validation']} validation, {sizes['test']} test")
    print(
        f"device: {meta.device['kind']} ({meta.device['name']}), VGG16 in {meta.device['dtype']}, "
        f"weights: {meta.weights['source']}"
    )
