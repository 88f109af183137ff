"""Learning-rate schedules: one entry for each kind, from which everything else follows.

The reader of search spaces checks keys with it, training builds the schedule from it, and the
report prints it. All kinds are given by the peak rate and the factor of it that is left at the end
of the study's `max_epochs`, so that they are comparable; `exponential` may instead be given in
steps, as in Keras. Every kind may start with a warmup (`study/training/warm_up.py`).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from study.common.aliases import Value
from study.space.keys import SearchKey, is_factor, is_fraction, is_number, switch, whole

Arguments = Mapping[str, Value]
MOST_DROPS = 100
MOST_RESTARTS = 20
STAIRS = 10  # equal drops of a staircase; the last one is at the end
WARMUP = SearchKey(0.0, is_fraction, "a fraction of the run from 0 to below 1")
FINAL_FACTOR = SearchKey(0.01, is_factor, "a number above 0, at most 1")


class ScheduleKind(NamedTuple):
    """One kind of schedule."""

    keys: Mapping[str, SearchKey]  # what its table in a search space may hold, without warmup
    keras_class: str  # of `keras.optimizers.schedules`; empty for a rate that never changes
    # (peak, steps after the warmup, values of the table) -> the class's arguments
    arguments: Callable[[float, int, Arguments], dict[str, Any]]
    instead: frozenset[str] = frozenset()  # keys that together replace final_factor


def _exponential(peak: float, steps: int, given: Arguments) -> dict[str, Any]:
    staircase = bool(given.get("staircase", False))
    if "decay_steps" in given:
        decay, rate = given["decay_steps"], given["decay_rate"]
    elif staircase:
        decay, rate = steps / STAIRS, float(given["final_factor"]) ** (1 / STAIRS)
    else:
        decay, rate = steps, float(given["final_factor"])
    return _starting(peak, decay_steps=decay, decay_rate=rate, staircase=staircase)


def _restarts(peak: float, steps: int, given: Arguments) -> dict[str, Any]:
    times = int(given["period_factor"])
    periods = sum(times**period for period in range(int(given["restarts"]) + 1))
    return _starting(
        peak,
        first_decay_steps=(steps - 0.5) / periods,  # the last period ends after the last step
        t_mul=float(times),
        m_mul=float(given["peak_factor"]),
        alpha=float(given["final_factor"]),
    )


def _polynomial(peak: float, steps: int, given: Arguments) -> dict[str, Any]:
    end, power = peak * float(given["final_factor"]), given.get("power", 1.0)
    return _starting(peak, decay_steps=steps, end_learning_rate=end, power=power)


def _steps(peak: float, steps: int, given: Arguments) -> dict[str, Any]:
    factor, drops = float(given["final_factor"]), int(given["drops"])
    return {
        # a boundary is the last step before the drop: Keras compares with <=
        "boundaries": [steps * drop / (drops + 1) - 0.5 for drop in range(1, drops + 1)],
        "values": [peak * factor ** (drop / drops) for drop in range(drops + 1)],
    }


def _starting(peak: float, **arguments: Any) -> dict[str, Any]:
    return {"initial_learning_rate": peak, **arguments}


SCHEDULES: dict[str, ScheduleKind] = {
    "constant": ScheduleKind({}, "", lambda peak, steps, given: {}),
    "exponential": ScheduleKind(
        {
            "final_factor": FINAL_FACTOR,
            "staircase": switch(False),
            "decay_steps": whole(0, "steps"),
            "decay_rate": SearchKey(0.0, is_factor, "a number above 0, at most 1"),
        },
        "ExponentialDecay",
        _exponential,
        instead=frozenset(("decay_steps", "decay_rate")),
    ),
    "cosine": ScheduleKind(
        {"final_factor": FINAL_FACTOR},
        "CosineDecay",
        lambda peak, steps, given: _starting(
            peak, decay_steps=steps, alpha=float(given["final_factor"])
        ),
    ),
    "cosine_restarts": ScheduleKind(
        {
            "final_factor": FINAL_FACTOR,  # where each period ends
            "restarts": whole(2, "restarts", MOST_RESTARTS),
            "period_factor": whole(2, "times that a period is as long as the one before", 10),
            "peak_factor": SearchKey(1.0, is_factor, "a number above 0, at most 1"),
        },
        "CosineDecayRestarts",
        _restarts,
    ),
    "linear": ScheduleKind({"final_factor": FINAL_FACTOR}, "PolynomialDecay", _polynomial),
    "polynomial": ScheduleKind(
        {
            "final_factor": FINAL_FACTOR,
            "power": SearchKey(2.0, lambda v: is_number(v) and v > 0, "a number above 0"),
        },
        "PolynomialDecay",
        _polynomial,
    ),
    "inverse_time": ScheduleKind(
        {"final_factor": FINAL_FACTOR},
        "InverseTimeDecay",
        lambda peak, steps, given: _starting(
            peak, decay_steps=steps, decay_rate=1.0 / float(given["final_factor"]) - 1.0
        ),
    ),
    "steps": ScheduleKind(
        {"final_factor": FINAL_FACTOR, "drops": whole(2, "drops", MOST_DROPS)},
        "PiecewiseConstantDecay",
        _steps,
    ),
}


def schedule_keys(kind: str) -> dict[str, SearchKey]:
    """Return every key that a schedule's table may hold."""
    return {**SCHEDULES[kind].keys, "warmup": WARMUP}


def all_schedule_keys() -> set[str]:
    """Return the names of the hyperparameters of all schedules."""
    return {key for kind in SCHEDULES for key in schedule_keys(kind)}


class Shape(NamedTuple):
    """A schedule over a run of known length, ready to be built or printed."""

    rising: int  # steps of the warmup, or 0
    steps: int  # after it
    keras_class: str  # empty: always the peak
    arguments: Mapping[str, Any]


def shape(kind: str, peak: float, total_steps: int, given: Arguments) -> Shape:
    """Return the schedule with these arguments over `total_steps`; only of a known kind."""
    if kind not in SCHEDULES:
        raise ValueError(f"no such schedule: {kind!r}; valid: {', '.join(SCHEDULES)}")
    rising = round(float(given.get("warmup", 0.0)) * total_steps)
    steps = max(total_steps - rising, 1)
    found = SCHEDULES[kind]
    return Shape(rising, steps, found.keras_class, found.arguments(peak, steps, given))
