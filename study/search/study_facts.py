"""What `study.json` says of a study that is about to start."""

import platform
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from study.common.text import printable
from study.features.vgg16 import FEATURES, Backbone
from study.images.doubts import mixed_grey
from study.images.image_set import ImageSet
from study.images.shortcuts import shortcuts
from study.images.study_splits import Splits
from study.records.study_meta import StudyMeta
from study.search.options import Options
from study.space.space import SearchSpace
from study.verdicts.looks import planned_looks

PACKAGES = ("tensorflow", "keras", "keras-tuner", "numpy", "pillow")


def study_meta(
    options: Options,
    space: SearchSpace,
    images: ImageSet,
    backbone: Backbone,
    splits: Splits,
    code: Mapping[str, Mapping[str, str]],
) -> StudyMeta:
    """What `study.json` says of a study that is about to start."""
    first = splits("confirm", 0)
    looks = planned_looks(options.repeats, options.most_repeats)
    folder = (
        "built-in faces" if options.data is None else Path(options.data).name or images.root.name
    )
    return StudyMeta(
        name=options.name,
        settings=options.settings(),
        optimizers=list(space.optimizers),
        class_names=list(images.class_names),
        class_counts=np.bincount(images.labels, minlength=len(images.class_names)).tolist(),
        split_sizes={
            "train": len(first.train),
            "validation": len(first.validation),
            "test": len(first.test),
        },
        data={
            "folder": folder,
            "images": len(images.paths),
            "features": FEATURES,
            "left_out": [str(problem) for problem in images.problems],
            "left_out_reasons": dict(Counter(problem.reason for problem in images.problems)),
            "in_several_classes": [_within(images, group) for group in images.duplicates],
            "flat": _within(images, images.flat),
            "shortcuts": shortcuts(images),
            "deep_grey": _deep_grey(images),
            "split_warnings": splits.warnings(several=False),
            "fingerprint": images.fingerprint,
        },
        space={"name": space.name, "fingerprint": space.fingerprint, "table": space.table},
        split_digests={
            f"{purpose}/{repeat}": splits(purpose, repeat).digest
            for repeat in range(looks[0].repeats)
            for purpose in ("search", "confirm")
        },
        device={**backbone.device._asdict(), "dtype": backbone.dtype},
        versions=[{"python": platform.python_version()} | {n: version(n) for n in PACKAGES}],
        weights={"source": backbone.source, "digest": backbone.digest},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        git_commit=_git_commit(),
        looks=list(looks),
        code=code,
    )


def _deep_grey(images: ImageSet) -> dict[str, Any]:
    """White points by kind, and how many images studies of before showed otherwise."""
    points = {
        kind: {**scale._asdict(), "images": images.deep_kinds[kind]}
        for kind, scale in images.scales.items()
    }
    return {"white_points": points, "rescaled": images.rescaled, "doubts": mixed_grey(images)}


def _within(images: ImageSet, paths: Iterable[Path]) -> list[str]:
    return [printable(path.relative_to(images.root).as_posix()) for path in paths]


def _git_commit() -> str | None:
    """The commit of this program, if it runs from a checkout."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
