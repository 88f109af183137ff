"""The compiled programs of a study: to which widths dense layers are padded, and what is certain.

Each width costs each optimizer a program: time to compile or read it, and 12 MB until the study
ends. A small study compiles longer than it trains, so it has one width; others have two. A third
one would save at most a sixth of the work on dense layers, which is not worth the memory. The
chosen widths are recorded in `study.json`, and a resumed study keeps them. Only the programs of the
default runs, one for each optimizer, are certain before a search has begun, so only they are
compiled while features are computed: a study that stops then has compiled nothing in vain.
"""

import os
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Int32

from study.data.splits.one_split import Split
from study.records.study_meta import StudyMeta
from study.search.expected_time import COMPILED, KEPT, WEIGHT, Expected, epoch_cost, slowness
from study.search.options import Options
from study.search.plan import Plan, signatures_of
from study.search.subject import Subject
from study.search.tasks import count_rows
from study.space.head_config import HeadConfig
from study.space.search_space import SearchSpace
from study.training.head import steps_per_epoch
from study.training.population import CPU_HEADS
from study.training.program_cache import is_kept
from study.training.program_key import ProgramShape, Signature, few_widths, key_of, signature_of

LEVELS = 2  # at most
MOST_PADDING = 8  # times a width: padded to more, narrow heads would need the memory of wide ones


def widths_of(
    options: Options,
    plan: Plan,
    space: SearchSpace,
    subject: Subject,
    split: Split,
    views: Int32[np.ndarray, "N V"] | None,
) -> tuple[int, ...]:
    """Choose the padded widths of a new study; on a GPU, where padding is cheap, two."""
    if subject.device["kind"] != "cpu":
        return few_widths(space.dense_widths(), LEVELS)
    kept = _kept(options, subject, views)
    return chosen_widths(plan, space, split, _weights(subject), kept)


def expected(
    options: Options,
    space: SearchSpace,
    subject: Subject,
    split: Split,
    views: Int32[np.ndarray, "N V"] | None,
    widths: Sequence[int],
) -> Expected | None:
    """Return how long training takes here; None on a GPU that no study has used yet."""
    if (slow := slowness(options.logs, subject.device)) is None:
        return None
    kept = _kept(options, subject, views)
    programs = signatures_of(space, split, widths)
    rows = len(split.train)
    given = space.head["batch_size"].choices or (space.head["batch_size"].first(),)
    batches = [rows if isinstance(batch, str) else int(batch) for batch in given]
    weights = _weights(subject) * float(np.mean(_padded(space.dense_widths(), widths)))
    epoch = float(np.mean([epoch_cost(rows, batch, weights) for batch in batches]))
    made, a_core = _made(programs, kept), slow / (os.cpu_count() or 1)
    return Expected(len(programs), made * a_core, epoch * a_core)


def chosen_widths(
    plan: Plan, space: SearchSpace, split: Split, weights: int, kept: Callable[[Signature], bool]
) -> tuple[int, ...]:
    """Return the padded widths with the least work until the first look, including compiling.

    A head has so many `weights` per unit of its dense layer; `kept` programs are compiled already.
    """
    possible = space.dense_widths()
    default = space.default(next(iter(space.optimizers)))
    epochs = plan.epochs(plan.equal_repeats(plan.first))
    a_unit = epochs * steps_per_epoch(default, len(split.train)) * weights * WEIGHT

    def cost(widths: Sequence[int]) -> float:
        made = _made(signatures_of(space, split, widths), kept)
        return made + a_unit * sum(_padded(possible, widths)) / len(possible)

    choices = [few_widths(possible, levels) for levels in range(1, LEVELS + 1)]
    ratios = (np.divide(_padded(possible, one), possible).max() for one in choices)
    close = [one for one, ratio in zip(choices, ratios, strict=True) if ratio <= MOST_PADDING]
    return min(close or choices[-1:], key=cost)


def _padded(possible: Sequence[int], widths: Sequence[int]) -> list[int]:
    return [min(width for width in widths if width >= real) for real in possible]


def _weights(subject: Subject) -> int:
    """Return the weights of a head per unit of its dense layer."""
    return subject.n_features + len(subject.examples.class_names)


def _made(programs: Iterable[Signature], kept: Callable[[Signature], bool]) -> float:
    return sum(KEPT if kept(signature) else COMPILED for signature in programs)


def _kept(
    options: Options, subject: Subject, views: Int32[np.ndarray, "N V"] | None
) -> Callable[[Signature], bool]:
    """Return whether the program of a signature is compiled already, as a function."""
    shape = program_shape(subject, views, options.population or CPU_HEADS, options.metric)
    return lambda signature: is_kept(key_of(signature, shape))


def program_shape(
    subject: Subject, views: Int32[np.ndarray, "N V"] | None, size: int, metric: str
) -> ProgramShape:
    """Return what all programs of a study have in common, with `size` heads in each."""
    examples = subject.examples
    rows = count_rows(len(examples.labels), views), subject.n_features
    weighted = examples.sample_weight is not None
    return ProgramShape(rows, len(examples.class_names), size, metric, weighted)


def heads_known(options: Options, meta: StudyMeta) -> int | None:
    """Return the heads in one program, as asked for, recorded or usual on CPUs; None: unknown."""
    size = options.population or meta.device["population"]
    return CPU_HEADS if size is None and meta.device["kind"] == "cpu" else size


def trained_by_keras(meta: StudyMeta) -> list[str]:
    """List the optimizers that plain Keras trains, because they cannot be mapped."""
    return [name for name, facts in meta.code.items() if facts["alone"]]


def certain_programs(
    space: SearchSpace, meta: StudyMeta, split: Split
) -> list[tuple[Signature, HeadConfig]]:
    """List the programs of the default runs, in the order of the optimizers."""
    alone = trained_by_keras(meta)  # they need no program
    configs = [space.default(name) for name in space.optimizers if name not in alone]
    rows = len(split.train), len(split.validation)
    widths = tuple(meta.device["widths"])
    return [(signature_of(config, *rows, widths), config) for config in configs]
