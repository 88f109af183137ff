"""The compiled programs of a study: to which widths dense layers are padded, and what is certain.

Each width costs each optimizer a program: time to compile or read it, and 12 MB until the study
ends. A small study compiles longer than it trains, so it has one width; others have two. A third
one would save at most a sixth of the work on dense layers, which is not worth the memory. The
chosen widths are recorded in `study.json`, and a resumed study keeps them. Only the programs of the
default runs, one for each optimizer, are certain before a search has begun, so only they are
compiled while features are computed: a study that stops then has compiled nothing in vain.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int32

from study.data.splits.one_split import Split
from study.records.study_meta import StudyMeta
from study.search.options import Options
from study.search.plan import Plan, signatures_of
from study.search.subject import Subject
from study.search.tasks import count_rows
from study.space.head_config import HeadConfig
from study.space.search_space import SearchSpace
from study.training.head import steps_per_epoch
from study.training.population import CPU_HEADS
from study.training.program_cache import is_kept
from study.training.program_key import (
    ProgramShape,
    Signature,
    few_widths,
    key_of,
    signature_of,
)

LEVELS = 2  # at most
MOST_PADDING = 8  # times a width: padded to more, narrow heads would need the memory of wide ones
# Seconds of one core, measured in studies of the faces with 1 to 3 widths: to trace and compile a
# program; to read one, with the slots that stay empty; to train one weight of a dense layer a step.
COMPILED, KEPT, WEIGHT = 4.0, 0.8, 1.2e-9


def widths_of(
    options: Options,
    plan: Plan,
    space: SearchSpace,
    subject: Subject,
    split: Split,
    views: Int32[np.ndarray, "N V"] | None,
) -> tuple[int, ...]:
    """Choose the padded widths of a new study; on a GPU, where padding is cheap, two."""
    n_features, n_classes = subject.n_features, len(subject.examples.class_names)
    if subject.device["kind"] != "cpu":
        return few_widths(space.dense_widths(), LEVELS)
    rows = count_rows(len(subject.examples.labels), views), n_features
    size = options.population or CPU_HEADS
    weighted = subject.examples.sample_weight is not None
    shape = ProgramShape(rows, n_classes, size, options.metric, weighted)

    def kept(signature: Signature) -> bool:
        return is_kept(key_of(signature, shape))

    return chosen_widths(plan, space, split, n_features + n_classes, kept)


def chosen_widths(
    plan: Plan,
    space: SearchSpace,
    split: Split,
    weights: int,
    kept: Callable[[Signature], bool],
) -> tuple[int, ...]:
    """Return the padded widths with the least work until the first look, including compiling.

    Args:
        weights: of a head, per unit of its dense layer.
        kept: whether the program of a signature is compiled already.
    """
    possible = space.dense_widths()
    default = space.default(next(iter(space.optimizers)))
    epochs = plan.epochs(plan.equal_repeats(plan.first))
    a_unit = epochs * steps_per_epoch(default, len(split.train)) * weights * WEIGHT

    def padded(widths: Sequence[int]) -> list[int]:
        return [min(width for width in widths if width >= real) for real in possible]

    def cost(widths: Sequence[int]) -> float:
        programs = signatures_of(space, split, widths)
        made = sum(KEPT if kept(signature) else COMPILED for signature in programs)
        return made + a_unit * sum(padded(widths)) / len(possible)

    choices = [few_widths(possible, levels) for levels in range(1, LEVELS + 1)]
    close = [one for one in choices if np.divide(padded(one), possible).max() <= MOST_PADDING]
    return min(close or choices[-1:], key=cost)


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
