"""Find the user's optimizers that cannot be mapped over heads, and why.

Mapping traces an optimizer's code once for all heads and steps. Code that keeps Python state,
decides on values or hides an argument would then train something else, or fail. So each optimizer
trains two small heads with different hyperparameters both ways, and their weights must agree.
"""

import math
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from study.common.aliases import Value
from study.space.domains import Domain, argument_of, turned
from study.space.head_config import HeadConfig
from study.space.own_optimizers import own_optimizers
from study.space.search_space import SearchSpace
from study.training.head import build_head
from study.training.plain_keras import train_plainly
from study.training.population import OUT_OF_MEMORY, LocalTrainer
from study.training.runs import HeadRun, TrainingRules, TrainingTable
from study.training.step_state import check_steps, hidden_state

STEPS, BATCH, FEATURES, CLASSES, WIDTH = 64, 16, 32, 5, 24
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
    found = {
        name: _compared([space.default(name), _low_point(space, name)])
        for name, optimizer in space.optimizers.items()
        if optimizer.keras_class in own_optimizers()
    }
    return {name: alone for name, alone in found.items() if alone}


def _compared(configs: Sequence[HeadConfig]) -> Alone | None:
    """Train the configurations both ways; return None if the weights agree."""
    check_steps(configs[0])
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
        return Alone(hidden, seconds)
    trainer = LocalTrainer(table, rules, len(runs))
    try:
        found = dict(pair for pairs in trainer.train(runs) for pair in pairs)
    except OUT_OF_MEMORY:
        raise
    except Exception as error:  # any error of tracing is a reason
        return Alone(f"it cannot be traced ({_in_short(error, configs[0].keras_class)})", seconds)
    off = max(
        _distance(found[index].weights, wanted.weights, run)
        for index, (run, wanted) in enumerate(zip(runs, plain, strict=True))
    )
    if off <= TOLERANCE:
        return None
    reason = f"after {STEPS} steps its weights are {off:.0%} off those that plain Keras trains"
    return Alone(reason, seconds)


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


def _in_short(error: Exception, keras_class: str) -> str:
    """Return the first sentence of an error, after the line of the user's file if it is known."""
    *trace, text = str(error).strip().split("\n\n")  # TensorFlow puts a traceback before it
    file = own_optimizers()[keras_class].file.name
    lines = re.findall(rf'{re.escape(file)}", line (\d+)', "".join(trace))
    sentence = text.strip().partition("\n")[0].partition(". ")[0]
    return f"line {lines[-1]}: {sentence}" if lines else sentence
