"""A whole Hyperband search: this study against Keras Tuner's own loop with `model.fit`.

    python tests/benchmarks/search.py [--max-epochs 50] [--skip-keras-tuner]

Adam's search of the default space, 50 epochs and factor 3 (90 trials, 922 epochs), on the same
synthetic features: 1,440 training and 360 validation rows of 512 numbers, 17 classes. Both sides
write what they write in use: here records and TensorBoard events, there Keras Tuner's files and the
TensorBoard callback. Compile time is included on both sides. Takes about twelve minutes, most of
it Keras Tuner's. This study's side is run with one repeat and with five side by side, its default,
each once from an empty cache and once more with the programs that it kept.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import keras_tuner
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # tests/synthetic.py
from synthetic import make_meta

from study.data.examples import Examples
from study.records.trial_record import TrialRecord
from study.records.trials_file import append_trials
from study.search.budget import promotions
from study.search.command_line import parse, resolve_options
from study.search.plan import make_plan
from study.search.programs_needed import chosen_widths
from study.search.protocol import StudyProtocol
from study.search.runner import Runner
from study.search.tasks import Data, make_splits
from study.space.search_space import SearchSpace, load_space
from study.tensorboard.event_folder import EventFolder
from study.training.hypermodel import HeadHyperModel
from study.training.population import CPU_HEADS, LocalTrainer
from study.training.program_cache import is_kept, keep_programs
from study.training.program_key import ProgramShape, Signature, key_of
from study.training.runs import TrainingRules
from study.verdicts.looks import planned_looks

TRAIN, VALIDATION, CLASSES = 1440, 360, 17


def make_data() -> tuple[np.ndarray, np.ndarray]:
    """Features (N, 512) that an optimizer can tell apart, and labels (N,)."""
    rng = np.random.default_rng(1)
    labels = (np.arange(TRAIN + VALIDATION) % CLASSES).astype(np.int32)
    centres = rng.normal(size=(CLASSES, 512))
    features = centres[labels] + rng.normal(scale=6.0, size=(len(labels), 512))
    return features.astype(np.float32), labels


def adams_space() -> SearchSpace:
    """What both sides search."""
    return load_space("default").restrict(["adam"])


def ours(max_epochs: int, repeats: int, folder: Path, cache: Path) -> tuple[float, int]:
    """(seconds, epochs) of the search phase, with records and events."""
    keep_programs(cache)
    space = adams_space()
    features, labels = make_data()
    arguments = ["--data", "x", "--max-epochs", str(max_epochs), "--repeats", str(repeats)]
    arguments += ["--validation-split", str(VALIDATION / len(labels)), "--test-split", "0"]
    options = resolve_options(parse(arguments), {}, "default")
    names = tuple(f"class{number}" for number in range(CLASSES))
    digests = tuple(f"{row:064d}" for row in range(len(labels)))
    images = Examples(source=Path("x"), labels=labels, class_names=names, digests=digests)
    data = Data(features, labels, CLASSES, make_splits(images, options))
    start = time.perf_counter()
    split = data.splits("confirm", 0)

    shape = ProgramShape(features.shape, CLASSES, CPU_HEADS, options.metric)

    def kept(signature: Signature) -> bool:
        return is_kept(key_of(signature, shape))

    plan = make_plan(options, space)
    widths = chosen_widths(plan, space, split, features.shape[1] + CLASSES, kept)
    population = LocalTrainer(data.table, TrainingRules(max_epochs, widths), CPU_HEADS)
    events = EventFolder.recreate(folder / "tensorboard", space)
    events.begin("the end", {})

    def save(records: list[TrialRecord]) -> None:
        append_trials(folder, records)
        events.write(records)

    promoted = promotions("hyperband", max_epochs, options.factor)
    runner = Runner(data, population, promoted, (), save)
    looks = list(planned_looks(options.repeats, options.most_repeats))
    meta = make_meta(["adam"], list(names), settings=options.settings(), looks=looks)
    protocol = StudyProtocol(options, space, runner, meta)
    protocol._search([("adam", repeat) for repeat in range(repeats)])
    seconds = time.perf_counter() - start
    return seconds, sum(r.epochs - r.initial_epoch for r in runner.records.values())


def keras_tuners(max_epochs: int, folder: Path) -> tuple[float, int]:
    """(seconds, epochs) of `keras_tuner.Hyperband` with the same head and space."""
    warnings.simplefilter("ignore")  # Keras Tuner's, about optimizer states that it loses
    space = adams_space()
    features, labels = make_data()
    order = np.random.default_rng(2).permutation(len(labels))
    train, validation = order[:TRAIN], order[TRAIN:]
    model = HeadHyperModel(
        space,
        n_features=512,
        n_classes=CLASSES,
        n_train=TRAIN,
        max_epochs=max_epochs,
        seed=1,
        optimizer="adam",
    )
    start = time.perf_counter()
    tuner = keras_tuner.Hyperband(
        model, objective="val_accuracy", max_epochs=max_epochs, factor=3, seed=1, directory=folder
    )
    tuner.search(
        features[train],
        labels[train],
        validation_data=(features[validation], labels[validation]),
        callbacks=[keras.callbacks.TensorBoard(folder / "tensorboard")],
        verbose=0,
    )
    seconds = time.perf_counter() - start
    epochs = 0
    for trial in tuner.oracle.trials.values():
        values = trial.hyperparameters.values
        epochs += values["tuner/epochs"] - values["tuner/initial_epoch"]
    return seconds, epochs


def main() -> None:
    """Print both sides and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-epochs", type=int, default=50)
    parser.add_argument("--skip-keras-tuner", action="store_true")
    options = parser.parse_args()
    theirs = None
    # each side in a process of its own: Keras Tuner with TensorFlow's own settings, ours with ours
    spawn = multiprocessing.get_context("spawn")
    if not options.skip_keras_tuner:
        with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, spawn) as apart:
            seconds, epochs = apart.submit(keras_tuners, options.max_epochs, Path(folder)).result()
        theirs = 1000 * seconds / epochs
        print(
            f"keras_tuner.Hyperband: {epochs} epochs in {seconds:.1f} s, {theirs:.1f} ms an epoch",
            flush=True,
        )
    for repeats in (1, 5):
        with tempfile.TemporaryDirectory() as cache:
            for state in ("empty", "warm"):
                with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, spawn) as one:
                    run = one.submit(ours, options.max_epochs, repeats, Path(folder), Path(cache))
                    seconds, epochs = run.result()
                figure = 1000 * seconds / epochs
                print(
                    f"this study, {repeats} repeat(s), {state} cache: {epochs} epochs in "
                    f"{seconds:.1f} s, {figure:.1f} ms an epoch all in"
                    + (f", {theirs / figure:.0f}x" if theirs else ""),
                    flush=True,
                )


if __name__ == "__main__":
    main()
