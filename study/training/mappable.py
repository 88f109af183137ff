"""Find the user's optimizers that cannot be mapped over heads, and why.

Mapping traces an optimizer's code once for all heads and steps. Code that keeps Python state,
decides on values or hides an argument would then train something else, or fail. So each optimizer
trains two small heads with different hyperparameters both ways, and their weights must agree.
"""

import linecache
import math
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from jaxtyping import Float32

from study.common.aliases import Value
from study.common.text import plain
from study.space.domains import Domain, argument_of, turned
from study.space.head_config import HeadConfig
from study.space.keras_optimizers import optimizer_class
from study.space.own_optimizers import own_optimizers
from study.space.search_space import SearchSpace
from study.training.head import build_head
from study.training.plain_keras import train_plainly
from study.training.population import OUT_OF_MEMORY, LocalTrainer
from study.training.runs import HeadRun, TrainingRules, TrainingTable
from study.training.stateless_optimizers import stateless_optimizer
from study.training.step_state import check_steps, hidden_state, own_rate

STEPS, BATCH, FEATURES, CLASSES, WIDTH = 64, 16, 32, 5, 24
RANDOM, DECIDING = ".*(Random|Rng).*", ".*(If|Case|While|PartitionedCall)"  # operations
TOLERANCE = 0.01  # of the distance that Keras's weights moved: chaos amplifies rounding


class Alone(NamedTuple):
    """An optimizer that plain Keras has to train."""

    reason: str
    step_seconds: float  # of a step of a small head


def trained_alone(space: SearchSpace) -> dict[str, Alone]:
    """Return the user's optimizers in `space` that cannot be mapped, by their names in the space.

    Raises:
        UserError: an optimizer has no rule, or makes a schedule of its own.
        Exception: any error of an optimizer's code where plain Keras runs it.
    """
    found = {}
    for name, optimizer in space.optimizers.items():
        if optimizer.keras_class in own_optimizers():
            check_steps(space.default(name), _scheduled(space, name))
            found[name] = _compared([space.default(name), _low_point(space, name)])
    return {name: alone for name, alone in found.items() if alone}


def _compared(configs: Sequence[HeadConfig]) -> Alone | None:
    """Train the configurations both ways; return None if the weights agree."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, CLASSES, STEPS * BATCH).astype(np.int32)
    centres = rng.normal(size=(CLASSES, FEATURES))
    features = (centres[labels] + rng.normal(size=(len(labels), FEATURES))).astype(np.float32)
    rows = np.arange(len(labels), dtype=np.int32)
    runs = [HeadRun(_small(config), rows, rows[:BATCH], seed=1, epochs=1) for config in configs]
    table, rules = TrainingTable(features, labels, CLASSES), TrainingRules(max_epochs=1)
    started = time.perf_counter()
    plain = [train_plainly(run, table, rules) for run in runs]
    seconds = (time.perf_counter() - started) / (STEPS * len(runs))
    if hidden := hidden_state(runs[0].config):
        line = _made_by(RANDOM, _graph(runs[0].config)) if "random numbers" in hidden else ""
        return Alone(hidden.replace("its steps", f"its steps ({line})", 1 if line else 0), seconds)
    trainer = LocalTrainer(table, rules, len(runs))
    try:
        found = dict(pair for pairs in trainer.train(runs) for pair in pairs)
    except OUT_OF_MEMORY:
        raise
    except Exception as error:  # any error of tracing is a reason
        return Alone(_why_not_traced(error, runs[0].config), seconds)
    off = max(
        _distance(found[index].weights, wanted.weights, run)
        for index, (run, wanted) in enumerate(zip(runs, plain, strict=True))
    )
    if off <= TOLERANCE:
        return None
    reason = own_rate(runs[0].config) or blamed_operation(runs[0].config)
    more = f": {reason}" if reason else ""
    return Alone(
        f"after {STEPS} steps its weights are {off:.0%} off those that plain Keras trains{more}",
        seconds,
    )


def _scheduled(space: SearchSpace, name: str) -> HeadConfig | None:
    """Return a configuration whose learning rate is an object of Keras's, if there is any."""
    for schedule in space.optimizers[name].schedules:
        domains = space.schedules[schedule]
        if schedule != "constant" or domains["warmup"] != Domain(choices=(0.0,)):
            values = {key: domain.first() for key, domain in domains.items()} | {"warmup": 0.5}
            default = space.default(name)
            return replace(default, schedule=schedule, schedule_hyperparameters=values)
    return None


def _low_point(space: SearchSpace, name: str) -> HeadConfig:
    """Return another configuration than the default: every range at a quarter of its length."""
    default, optimizer = space.default(name), space.optimizers[name]
    values = {
        argument_of(key): turned(key, _quarter(domain))
        for key, domain in optimizer.hyperparameters.items()
        if not domain.choices
    }
    rate = optimizer.learning_rate
    return replace(
        default,
        learning_rate=default.learning_rate / 2 if rate.choices else float(_quarter(rate)),
        optimizer_hyperparameters={**default.optimizer_hyperparameters, **values},
    )


def _quarter(domain: Domain) -> Value:
    if domain.log:
        low, high = math.log(domain.low), math.log(domain.high)
        value = math.exp(low + (high - low) / 4)
    else:
        value = domain.low + (domain.high - domain.low) / 4
    return round(value) if domain.integer else value


def _small(config: HeadConfig) -> HeadConfig:
    """Return the same optimizer on a small head with the plain loss.

    It has no batch normalization, which makes some gradients pure rounding errors: sign-based
    optimizers would follow them.
    """
    return replace(
        config,
        dense_width=WIDTH,
        dropout=0.0,
        batch_norm=False,
        batch_size=BATCH,
        normalize=False,
        loss_hyperparameters={},
    )


def _distance(
    found: list[Float32[np.ndarray, "..."]], wanted: list[Float32[np.ndarray, "..."]], run: HeadRun
) -> float:
    """Return how far `found` is from `wanted`, relative to how far training moved the weights."""
    head = build_head(run.config, n_features=FEATURES, n_classes=CLASSES, seed=run.seed)
    start, end, other = (
        np.concatenate([np.ravel(weight) for weight in weights])
        for weights in (head.get_weights(), wanted, found)
    )
    if not np.isfinite(end).all():
        return 0.0 if np.array_equal(np.isfinite(end), np.isfinite(other)) else math.inf
    moved = np.linalg.norm(end - start) + 1e-6 * np.linalg.norm(start)
    return float(np.linalg.norm(other - end) / moved)


def _why_not_traced(error: Exception, config: HeadConfig) -> str:
    """Return why a program cannot be made, with the line of the user's that is the reason."""
    text = str(error).strip()
    found = re.findall(r'File "(.+)", line (\d+)', text)  # TensorFlow's traceback is text
    line = next((shown for one in reversed(found) if (shown := _line(*one))), "")
    reason = "" if line else blamed_operation(config, text)
    if reason:
        return reason
    *_, last = text.split("\n\n") if text.startswith("in user code") else [text]
    sentence = last.strip().partition("\n")[0].partition(". ")[0]
    return f"it cannot be traced ({f'{line}: ' if line else ''}{sentence})"


def blamed_operation(config: HeadConfig, error: str = "") -> str:
    """Return which operation of a step cannot be mapped, with its line; empty: none is known.

    An error of TensorFlow's names it, or it is one of those that its vectorization gets wrong.
    """
    graph = _graph(config)
    if graph is None:
        return ""
    for _, inside in graph.captures:
        for op in inside.consumers():
            if line := _line_of(op):
                return (
                    f"{line} uses a tensor or variable that is none of its `variables`; make it "
                    "with `self.add_variable`"
                )
    if line := _made_by(RANDOM, graph):
        return f"{line} draws random numbers, which a compiled program would draw otherwise"
    if line := _made_by(DECIDING, graph):
        return f"{line} decides or repeats by values, which differ from head to head"
    if line := _made_by("|".join(re.findall(r"\b[A-Z]\w+\b", error)) or "$", graph):
        return f"{line} has an operation that cannot be compiled for many heads"
    return ""


def _made_by(pattern: str, graph: tf.Graph | None) -> str:
    """Return the line of the user's that made the first operation of a kind; empty: none did."""
    made = graph.get_operations() if graph else ()
    lines = (_line_of(one) for one in made if re.fullmatch(pattern, one.type))
    return next(filter(None, lines), "")


def _graph(config: HeadConfig) -> tf.Graph | None:
    """Return the graph of one step; None where it cannot be traced."""
    head = build_head(config, n_features=FEATURES, n_classes=CLASSES, seed=1)
    keras_class = stateless_optimizer(optimizer_class(config.keras_class))
    optimizer = keras_class(learning_rate=0.01, **config.optimizer_hyperparameters)
    optimizer.build(head.trainable_variables)
    state = [tf.convert_to_tensor(one) for one in optimizer.variables]
    weights = [tf.convert_to_tensor(one) for one in head.trainable_variables]
    step = tf.function(optimizer.stateless_apply, autograph=False)
    try:
        return step.get_concrete_function(state, weights, weights).graph
    except Exception:  # whatever the user's code raises
        return None


def _line_of(op: Any) -> str:
    """Return the last line of the user's that made an operation, or nothing."""
    lines = (_line(frame.filename, frame.lineno) for frame in reversed(op.traceback or ()))
    return next(filter(None, lines), "")


def _line(file: str, line: int | str) -> str:
    """Return a line of the user's code in words; nothing for another file's."""
    if Path(file).resolve() not in {
        path for own in own_optimizers().values() for path in own.files
    }:
        return ""
    code = plain(linecache.getline(file, int(line)).strip(), 60)
    return f"{Path(file).name} line {line} `{code}`"
