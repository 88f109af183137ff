"""Whether steps of a user's optimizer depend on more than its variables.

A compiled program repeats what its code did when it was traced. Python state (a counter in an
attribute, a list, a global) would stand still there, also if it begins to matter only later, and
random numbers from outside its variables would be others.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from jaxtyping import Float32
from keras.optimizers import Optimizer

from study.common.errors import UserError, first_line
from study.space.head_config import HeadConfig
from study.space.own_optimizers import in_code, own_optimizers
from study.training.head import build_head, make_optimizer
from study.training.reachable_state import reachable_state
from study.training.schedules import make_schedule

RULES = ("update_step", "apply", "apply_gradients", "_backend_update_step")  # one is its own
BEFORE, AFTER = 2, 4  # steps before state is looked at, and after that
RATE = 0.0123  # nobody's default


class Steps(NamedTuple):
    """Some steps of an optimizer on fixed gradients."""

    weights: list[Float32[np.ndarray, "..."]]
    changed: list[str]  # state besides variables, in words
    rate: float  # its learning rate afterwards
    made: int  # variables that the steps made

    def equal(self, other: "Steps") -> bool:
        """Return whether both end in the same weights."""
        pairs = zip(self.weights, other.weights, strict=True)
        return all(np.array_equal(*pair, equal_nan=True) for pair in pairs)


def check_steps(config: HeadConfig, scheduled: HeadConfig | None) -> None:
    """Refuse an optimizer that cannot step in Keras, or decides its learning rate itself.

    `scheduled` is a configuration with a schedule, if the space combines it with any.

    Raises:
        UserError: it has no rule, makes a schedule of its own, or takes none.
    """
    own, name = own_optimizers()[config.keras_class], config.keras_class
    if not any(getattr(own.keras_class, one) is not getattr(Optimizer, one) for one in RULES):
        raise UserError(
            f"`code` {own.file}: {name} has no `update_step(self, gradient, variable, "
            "learning_rate)`, which Keras 3 calls for each variable; write its rule there"
        )
    try:
        optimizer = make_optimizer(config, learning_rate=RATE)
        steps(config)
    except Exception as error:
        if in_code(error):
            raise
        raise UserError(
            f"`code` {own.file}: Keras cannot take a step with {name}: {type(error).__name__}: "
            f"{first_line(error)}; it needs `super().__init__(learning_rate=learning_rate)` and "
            "`update_step(self, gradient, variable, learning_rate)`"
        ) from error
    if not isinstance(optimizer._learning_rate, keras.Variable):
        raise UserError(
            f"`code` {own.file}: {name} makes a schedule of its own, but the search tunes them; "
            "pass `learning_rate` on as it is, and choose schedules in the table "
            "[schedules] of the search space"
        )
    if scheduled:
        _check_schedule(scheduled)


def _check_schedule(config: HeadConfig) -> None:
    own = own_optimizers()[config.keras_class]
    try:
        steps(config, make_schedule(config, BEFORE + AFTER))
    except Exception as error:
        raise UserError(
            f"`code` {own.file}: {config.keras_class} takes no schedule as learning rate "
            f"({type(error).__name__}: {first_line(error)}); pass `learning_rate` on as it is, and "
            "let `update_step` use the one that it receives; or write schedules = "
            f'["constant"] in [optimizers.{config.optimizer}]'
        ) from error


def hidden_state(config: HeadConfig) -> str:
    """Return what else than variables decides steps of this optimizer, in words; empty: nothing."""
    first = steps(config)
    if not first.equal(steps(config)):
        return (
            "two trainings with the same seed differ, so its runs are not reproducible; it depends "
            "on a clock, on a generator without a seed, or on what earlier trainings left behind"
        )
    drawn = [name for name in first.changed if name.endswith("random numbers")]
    if drawn or not first.equal(steps(config, seed=2)):
        return (
            "its steps draw random numbers from outside its variables, which a compiled program "
            "would repeat (they come from the seed of each run)"
        )
    if first.made:
        return "its steps make variables, which a compiled program lacks; make them in `build`"
    if first.changed:
        name = first.changed[0]
        kept = "" if name.startswith("its attribute") else " and which outlives a run"
        return (
            f"its steps change {name}, which a compiled program would not see{kept}; keep it in a "
            "variable (`self.add_variable`), or use `self.iterations`"
        )
    keras_class = own_optimizers()[config.keras_class].keras_class
    if keras_class.apply_gradients is not Optimizer.apply_gradients:
        return (
            "it has an `apply_gradients` of its own, which only plain Keras calls; write its rule "
            "in `update_step`"
        )
    return ""


def rate_is_idle(config: HeadConfig) -> bool:
    """Return whether steps with another learning rate end in the same finite weights."""
    first = steps(config)
    finite = all(np.isfinite(weight).all() for weight in first.weights)
    return finite and first.equal(steps(config, RATE / 2))


def own_rate(config: HeadConfig) -> str:
    """Return what an optimizer does with its learning rate besides using it; empty: nothing."""
    optimizer = make_optimizer(config, learning_rate=RATE)
    if float(optimizer.learning_rate) != np.float32(RATE):
        return "its `__init__` does not pass its `learning_rate` on"
    if steps(config).rate != np.float32(RATE):
        return "its steps change `self.learning_rate`, which the search decides"
    if steps(config).equal(steps(config, later=RATE / 2)) and not rate_is_idle(config):
        return (
            "it steps by the learning rate that its `__init__` received, not by the one that "
            "`update_step` receives"
        )
    return ""


def steps(
    config: HeadConfig, rate: Any = RATE, *, seed: int = 1, later: float | None = None
) -> Steps:
    """Take some steps as Keras's `fit` does; `later` replaces the learning rate of `__init__`."""
    keras.utils.set_random_seed(seed)
    head = build_head(config, n_features=6, n_classes=3, seed=1)
    optimizer = make_optimizer(config, rate)
    optimizer.build(head.trainable_variables)
    if later is not None:
        optimizer.learning_rate = later
    rng, variables = np.random.default_rng(1), len(optimizer.variables)
    before: dict[str, Any] = {}
    for step in range(BEFORE + AFTER):
        if step == BEFORE:
            before = reachable_state(optimizer)
        gradients = [
            tf.constant(rng.normal(size=weight.shape), tf.float32)
            for weight in head.trainable_variables
        ]
        optimizer.apply_gradients(zip(gradients, head.trainable_variables, strict=True))
    after = reachable_state(optimizer)
    changed = [name for name in after if after[name] != before.get(name)]
    made = len(optimizer.variables) - variables
    return Steps(head.get_weights(), changed, float(optimizer.learning_rate), made)
