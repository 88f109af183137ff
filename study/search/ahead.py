"""Programs that a study needs for certain are compiled while its features are computed.

Certain are those of the untuned runs, one of each optimizer. Which others a search asks for is
known once it has begun; a study that stops before that has compiled nothing in vain.
"""

import numpy as np

from study.images.splits.assignments import Split
from study.records.study_meta import StudyMeta
from study.search.options import Options
from study.search.subject import Subject
from study.search.tasks import count_rows
from study.space.head_config import HeadConfig
from study.space.space import SearchSpace
from study.training.population_size import CPU_HEADS
from study.training.program_key import Signature, few_widths, signature_of
from study.training.programs import Ahead, Programs


def heads_known(options: Options, meta: StudyMeta) -> int | None:
    """Heads in one program, as asked for, recorded or known for CPUs; None: a GPU is timed."""
    size = options.population or meta.device.get("population")
    return CPU_HEADS if size is None and meta.device["kind"] == "cpu" else size


def widths_in_force(meta: StudyMeta, space: SearchSpace) -> tuple[int, ...]:
    """To which dense layers are padded; studies without a word of it have the usual ones."""
    return tuple(meta.device.get("widths", few_widths(space.dense_widths())))


def certain_programs(
    space: SearchSpace, meta: StudyMeta, split: Split
) -> list[tuple[Signature, HeadConfig]]:
    """Those of the untuned runs, in the order of the optimizers; plain Keras needs none."""
    widths = widths_in_force(meta, space)
    alone = [name for name, facts in meta.code.items() if facts["alone"]]
    configs = [space.default(name) for name in space.optimizers if name not in alone]
    rows = len(split.train), len(split.validation)
    return [(signature_of(config, *rows, widths), config) for config in configs]


def features_and_programs(
    subject: Subject,
    options: Options,
    space: SearchSpace,
    meta: StudyMeta,
    split: Split,
    views: np.ndarray | None,
    *,
    ahead: bool,
) -> tuple[np.ndarray, Programs | None]:
    """The rows of `subject` with these `views`, and what could be compiled meanwhile.

    Without `ahead` nothing is: what is left to train of a study that goes on shows later. There are
    no programs (None) where a GPU is timed first, or other machines train.
    """
    size = heads_known(options, meta)
    if size is None or options.cluster is not None:
        return subject.features(views), None
    rows = count_rows(len(subject.examples.labels), views), subject.n_features
    programs = Programs(rows, len(meta.class_names), size=size, metric=options.metric)
    with Ahead(programs, certain_programs(space, meta, split) if ahead else []):
        return subject.features(views), programs
