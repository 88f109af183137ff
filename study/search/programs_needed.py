"""To how many widths dense layers are padded: few programs to compile, or little work on padding.

Every width costs each optimizer a program: time to compile or read it, and 12 MB as long as the
study runs. A small study compiles longer than it trains, so it has one width; others have two. A
third would save them a sixth of the work on dense layers at most, which is not worth the memory.
What is chosen stands in `study.json`, and a study that goes on keeps it.

Programs that a study needs for certain are compiled while its features are computed.

Certain are those of the untuned runs, one of each optimizer. Which others a search asks for is
known once it has begun; a study that stops before that has compiled nothing in vain.
"""

from collections.abc import Callable, Sequence

import numpy as np

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
MOST_PADDING = 8  # times a width; where a wide head does not fit, padded narrow ones do not either
# Seconds of a core, by studies of the faces with 1 to 3 widths: to trace and compile a program, to
# read it, slots that stay empty included; a step of one weight of the dense layer.
COMPILED, KEPT, WEIGHT = 4.0, 0.8, 1.2e-9


def widths_of(
    options: Options,
    plan: Plan,
    space: SearchSpace,
    subject: Subject,
    split: Split,
    views: np.ndarray | None,
) -> tuple[int, ...]:
    """The padded widths of a study that begins now; on a GPU, which pads for little, two.

    Args:
        options: of the study.
        plan: of the study.
        space: with the widths that are searched.
        subject: what the study is of.
        split: of any repeat.
        views: see `view_rows`.
    """
    n_features, n_classes = subject.n_features, len(subject.examples.class_names)
    if subject.device["kind"] != "cpu":
        return few_widths(space.dense_widths(), LEVELS)
    rows = count_rows(len(subject.examples.labels), views), n_features
    size = options.population or CPU_HEADS
    shape = ProgramShape(rows, n_classes, size, options.metric)

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
    """The padded widths with the least work until the first look, compiling included.

    Args:
        plan: of the study.
        space: with the widths that are searched.
        split: of any repeat; all have the same sizes.
        weights: of a head for each unit of its dense layer: features and classes.
        kept: whether the program of a signature need not be compiled.
    """
    possible = space.dense_widths()
    default = space.default(next(iter(space.optimizers)))
    epochs = plan.epochs(plan.everybody(plan.first))
    a_unit = epochs * steps_per_epoch(default, len(split.train)) * weights * WEIGHT

    def cost(widths: Sequence[int]) -> float:
        programs = signatures_of(space, split, widths)
        made = sum(KEPT if kept(signature) else COMPILED for signature in programs)
        return made + a_unit * sum(_padded(possible, widths)) / len(possible)

    choices = [few_widths(possible, levels) for levels in range(1, LEVELS + 1)]
    close = [one for one in choices if _most_padding(possible, one) <= MOST_PADDING]
    return min(close or choices[-1:], key=cost)


def _padded(possible: Sequence[int], widths: Sequence[int]) -> list[int]:
    return [min(width for width in widths if width >= real) for real in possible]


def _most_padding(possible: Sequence[int], widths: Sequence[int]) -> float:
    return float(np.divide(_padded(possible, widths), possible).max())


def heads_known(options: Options, meta: StudyMeta) -> int | None:
    """Heads in one program, as asked for, recorded or known for CPUs; None: to be timed."""
    size = options.population or meta.device["population"]
    return CPU_HEADS if size is None and meta.device["kind"] == "cpu" else size


def widths_in_force(meta: StudyMeta) -> tuple[int, ...]:
    """The widths to which dense layers are padded."""
    return tuple(meta.device["widths"])


def trained_by_keras(meta: StudyMeta) -> list[str]:
    """Optimizers that plain Keras trains, because they cannot be mapped."""
    return [name for name, facts in meta.code.items() if facts["alone"]]


def certain_programs(
    space: SearchSpace, meta: StudyMeta, split: Split
) -> list[tuple[Signature, HeadConfig]]:
    """Programs of the untuned runs, in the order of the optimizers; plain Keras needs none."""
    widths, alone = widths_in_force(meta), trained_by_keras(meta)
    configs = [space.default(name) for name in space.optimizers if name not in alone]
    rows = len(split.train), len(split.validation)
    return [(signature_of(config, *rows, widths), config) for config in configs]
