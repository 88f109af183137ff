"""Export the best head of each optimizer, its predictions, and the winner's whole model."""

from pathlib import Path

import keras
import numpy as np
from jaxtyping import Float32

from study.common.files import replacing
from study.records.outcomes import by_optimizer, training_length, winning_run
from study.records.predictions import BestPredictions, Predictions, save_predictions
from study.records.study_files import WINNER_FILE
from study.search.protocol import StudyProtocol
from study.search.runner import Runner
from study.search.subject import Subject
from study.search.tasks import Task
from study.training.head import build_head, in_pieces
from study.verdicts.judge import answer_of


def write_best(folder: Path, protocol: StudyProtocol, subject: Subject) -> None:
    """Write `best/`: a head of each confirmed optimizer, the winner's whole model, predictions.

    A head is its winning run trained once more, for as many epochs as `training_length` says.
    `<optimizer>.keras` turns features into probabilities, `winner.keras` pixels if the study has
    images; `mistakes/` holds a few pictures for the report.
    """
    records = protocol.records()
    best = answer_of(protocol.meta, records).leader
    if not best:
        return
    tasks, epochs = {}, []
    for name, found in by_optimizer(list(protocol.space.optimizers), records).items():
        if run := winning_run(found):
            tasks[name] = protocol.task_of(run)
            epochs.append(training_length(run, found).epochs)
    weights = protocol.runner.weights_of(list(tasks.values()), epochs)
    predictions: dict[str, Predictions] = {}
    for (name, task), of_head in zip(tasks.items(), weights, strict=True):
        head = _head(protocol.runner, task, of_head)
        save_model(folder / "best" / f"{name}.keras", head)
        predictions[name] = _predictions(protocol.runner, subject, task, head)
        if name == best:
            save_model(folder / WINNER_FILE, subject.whole(head))
            subject.show_mistakes(folder, task.split.train, predictions[name])
    save_predictions(folder, BestPredictions(best, predictions))


def _head(runner: Runner, task: Task, weights: list[Float32[np.ndarray, "..."]]) -> keras.Model:
    head = build_head(
        task.config,
        n_features=runner.data.features.shape[1],
        n_classes=runner.data.n_classes,
        seed=task.run.seed,
        statistics=runner.statistics(task),
    )
    head.set_weights(weights)
    return head


def _predictions(runner: Runner, subject: Subject, task: Task, head: keras.Model) -> Predictions:
    """Predict the test rows, or the validation rows if there is no test set."""
    tested = len(task.split.test) > 0
    rows = task.split.test if tested else task.split.validation
    probabilities = in_pieces(head, runner.data.features[rows])
    return Predictions(
        trial_id=task.run.trial_id,
        set="test" if tested else "validation",
        paths=[subject.examples.name_of(row) for row in rows.tolist()],
        labels=subject.examples.labels[rows].tolist(),
        predictions=probabilities.argmax(axis=1).tolist(),
        confidence=[round(float(value), 4) for value in probabilities.max(axis=1)],
    )


def save_model(path: Path, model: keras.Model) -> None:
    """Save a model atomically."""
    with replacing(path, ".keras") as temporary:  # Keras asks for this ending
        model.save(temporary)
