"""What a user takes home: the best head of each optimizer, its predictions, the winner's model."""

from pathlib import Path

import keras
import numpy as np

from study.features.vgg16 import Backbone, in_float32
from study.images.image_set import ImageSet
from study.records.layout import WINNER_FILE
from study.records.outcomes import by_optimizer, winning_run
from study.records.predictions import BestPredictions, Predictions, save_predictions
from study.search.mistakes import write_mistakes
from study.search.protocol import Protocol
from study.search.runner import Runner
from study.search.tasks import Task
from study.training.head import build_head, in_pieces, whole_model
from study.verdicts.judge import answer_of


def write_best(folder: Path, protocol: Protocol, images: ImageSet, backbone: Backbone) -> None:
    """Write `best/`: a head for every confirmed optimizer, the winner's whole model, predictions.

    `<optimizer>.keras` goes from features to probabilities, `winner.keras` from pixels;
    `mistakes/` holds a few pictures for the report.
    """
    records = protocol.records()
    best = answer_of(protocol.meta, records).leader
    if not best:
        return
    predictions: dict[str, Predictions] = {}
    for name, found in by_optimizer(list(protocol.space.optimizers), records).items():
        run = winning_run(found)
        if run is None:
            continue
        task = protocol.runner.tasks[run.trial_id]
        head = _head(protocol.runner, task)
        _save_model(folder / "best" / f"{name}.keras", head)
        predictions[name] = _predictions(protocol.runner, images, task, head)
        if name == best:
            _save_model(folder / WINNER_FILE, whole_model(in_float32(backbone), head))
            _show_mistakes(folder, images, task, predictions[name])
    save_predictions(folder, BestPredictions(best, predictions))


def _head(runner: Runner, task: Task) -> keras.Model:
    head = build_head(
        task.config,
        n_features=runner.data.features.shape[1],
        n_classes=runner.data.n_classes,
        seed=task.run.seed,
        statistics=runner.statistics(task),
    )
    head.set_weights(runner.weights_of(task))
    return head


def _predictions(runner: Runner, images: ImageSet, task: Task, head: keras.Model) -> Predictions:
    """On the test rows; on the validation rows where there is no test set."""
    tested = len(task.split.test) > 0
    rows = task.split.test if tested else task.split.validation
    probabilities = in_pieces(head, runner.data.features[rows])
    return Predictions(
        trial_id=task.run.trial_id,
        set="test" if tested else "validation",
        paths=[str(images.paths[row].relative_to(images.root)) for row in rows],
        labels=images.labels[rows].tolist(),
        predictions=probabilities.argmax(axis=1).tolist(),
        confidence=[round(float(value), 4) for value in probabilities.max(axis=1)],
    )


def _show_mistakes(folder: Path, images: ImageSet, task: Task, table: Predictions) -> None:
    """Pictures of what the winner names wrongly, each beside a training image of what it said."""
    rows = task.split.train
    classes, first = np.unique(images.labels[rows], return_index=True)
    examples = {
        int(label): images.paths[rows[at]] for label, at in zip(classes, first, strict=True)
    }
    paths = [images.root / path for path in table.paths]
    write_mistakes(folder, table, paths, examples, images.scales)


def _save_model(path: Path, model: keras.Model) -> None:
    """Keras writes the file; the rename makes it whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.tmp.keras")
    model.save(temporary)
    temporary.replace(path)
