"""Search the best settings of every optimizer on your images and rank the optimizers.

    python -m study.search --tuner hyperband          # the built-in faces
    python -m study.search --data my_photos           # a folder with one folder per class

Prints the plan, computes the features of every image once (cached), searches, confirms, and ends
with the ranking and the next two commands to type. The same command again resumes a study.
"""

import errno
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from study.errors import UserError
from study.options import Options, parse, resolve_options
from study.pixels import printable
from study.programs import keep_programs
from study.quiet import import_tensorflow

if TYPE_CHECKING:
    import numpy as np

    from study.backbone import Backbone
    from study.images import ImageSet
    from study.plan import Plan
    from study.protocol import Protocol
    from study.records import StudyMeta, TrialRecord
    from study.space import SearchSpace
    from study.tasks import Data

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 2 after a mistake the user can mend, 130 after Ctrl-C or SIGTERM."""
    arguments = parse(argv)  # --help ends here, before anything heavy is imported
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    keep_programs(arguments.cache_dir and Path(arguments.cache_dir))
    import_tensorflow()
    from study.backbone import pick_device
    from study.space import load_space

    try:
        pick_device(arguments.device)  # before the space's optimizers start TensorFlow
        space = load_space(arguments.space)
        options = resolve_options(arguments, space.study, space.name)
        if options.optimizers:
            space = space.restrict(options.optimizers.split(","))
        return run(options, space)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        place = f" ({error.filename})" if error.filename else ""
        print(
            f"error: the disk is full or a quota is reached{place}: make room, then the same "
            "command resumes; nothing that was recorded is lost",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("\nstopped; nothing is lost: the same command resumes", file=sys.stderr)
        return 130


def run(options: Options, space: "SearchSpace") -> int:
    """Images -> features -> heads -> records -> report."""
    # Imported here so that --help does not wait for TensorFlow.
    from study.backbone import load_backbone
    from study.images import load_images
    from study.plan import make_plan, model_summary, plan_lines
    from study.store import clear, locked, resume, study_meta
    from study.takeaway import write_best
    from study.tasks import Data, Splits

    images = load_images(Path(options.data) if options.data else None, strict=options.strict)
    _say_images(images)
    splits = Splits(images, options)
    backbone = load_backbone(
        options.weights,
        size=options.image_size,
        preprocess=options.preprocess,
        device=options.device,
    )
    meta = study_meta(options, space, images, backbone, splits)
    _say_setting(meta)
    for warning in splits.warnings():
        print(f"warning: {warning}")
    plan = make_plan(options, space)
    print("\n".join(plan_lines(plan, options, space, splits("confirm", 0))))
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


def _features(options: Options, images: "ImageSet", backbone: "Backbone") -> "np.ndarray":
    """The (N, 512) features; says what had to be computed."""
    from study.features import extract_features

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


def _train(
    options: Options,
    space: "SearchSpace",
    plan: "Plan",
    folder: Path,
    meta: "StudyMeta",
    data: "Data",
    known: "list[TrialRecord]",
) -> "Protocol":
    """Run the protocol; every batch of records is on the disk before the next is trained."""
    from study.events import EventFolder
    from study.population import Population
    from study.protocol import Protocol
    from study.records import append_trials, rewrite_trials, save_meta
    from study.runner import Runner
    from study.signature import few_widths
    from study.sizing import heads_at_once
    from study.tuner import promotions
    from study.watch import Watch

    size = options.population or meta.device.get("population") or heads_at_once(data, space)
    meta = replace(meta, device={**meta.device, "population": size}, finished=False)
    save_meta(folder, meta)
    population = Population(
        data.features,
        data.labels,
        data.n_classes,
        max_epochs=options.max_epochs,
        size=size,
        widths=few_widths(space.dense_widths()),
    )
    events = EventFolder(folder / "tensorboard", space, known)
    planned = {search.name: search.trials * plan.repeats for search in plan.searches}
    watch = Watch(planned, plan.epochs, known)

    def save(records: "list[TrialRecord]") -> None:
        append_trials(folder, records)
        events.write(records)
        watch.add(records)

    start = time.monotonic()
    promoted = promotions(options.tuner, options.max_epochs, options.factor)
    protocol = Protocol(options, space, Runner(data, population, promoted, known, save))
    with watch:
        protocol.search()
        protocol.confirm()
    records, superseded = protocol.runner.records, protocol.superseded()
    if superseded:
        rewrite_trials(folder, [r for r in records.values() if r.trial_id not in superseded])
    seconds = time.monotonic() - start
    print(
        f"search: {len(records)} runs in {seconds:.0f} s, {population.compilations} programs "
        f"compiled in {population.compile_seconds:.0f} s, {population.size} heads at once"
    )
    total = meta.seconds.get("search", 0.0) + seconds
    save_meta(
        folder,
        replace(meta, finished=True, partial=protocol.stopped, seconds={"search": round(total, 1)}),
    )
    return protocol


def _report(options: Options, folder: Path, images: "ImageSet", data: "Data") -> None:
    """Write and print the report, show it in TensorBoard, and say what to type next."""
    from study.events import ReportEvents
    from study.gallery import sample_grid
    from study.report import write_report

    write_report(options.logs, options.name)
    shown = ReportEvents(folder / "tensorboard")
    rows = data.splits("confirm", 0).train
    shown.image("data/training_images", sample_grid(images, rows, seed=options.seed))
    for path in sorted((folder / "report" / "figures").glob("*.png")):
        shown.image(f"report/{path.stem}", path.read_bytes())
    shown.text("report", (folder / "report" / "report.md").read_text(encoding="utf-8"))
    print("\nnext:")
    print(f"  tensorboard --logdir {options.logs}")
    print(f"  python -m study.report --study {options.name}" + _logs_flag(options))


def _logs_flag(options: Options) -> str:
    return "" if options.logs == Path("logs") else f" --logs {options.logs}"


def _say_images(images: "ImageSet") -> None:
    """Count the images; name every file that was left out."""
    print(
        f"images: {len(images.paths)} in {len(images.class_names)} classes"
        + (f", {images.ignored} other files ignored" if images.ignored else "")
    )
    for problem in images.problems:
        print(f"left out: {problem}")
    for group in images.duplicates:
        print("the same content in several classes: " + ", ".join(map(printable, group)))


def _say_setting(meta: "StudyMeta") -> None:
    sizes = meta.split_sizes
    print(f"split: {sizes['train']} train, {sizes['validation']} validation, {sizes['test']} test")
    print(
        f"device: {meta.device['kind']} ({meta.device['name']}), VGG16 in {meta.device['dtype']}, "
        f"weights: {meta.weights['source']}"
    )


if __name__ == "__main__":
    sys.exit(main())
