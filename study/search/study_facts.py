"""What `study.json` says of a study that is about to start."""

import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

from study.images.study_splits import Splits
from study.records.study_meta import StudyMeta
from study.search.options import Options
from study.search.subject import Subject
from study.space.space import SearchSpace
from study.verdicts.looks import planned_looks

PACKAGES = ("tensorflow", "keras", "keras-tuner", "numpy", "pillow")


def study_meta(
    options: Options,
    space: SearchSpace,
    subject: Subject,
    splits: Splits,
    code: Mapping[str, Mapping[str, str]],
) -> StudyMeta:
    """What `study.json` says of a study that is about to start."""
    first = splits("confirm", 0)
    looks = planned_looks(options.repeats, options.most_repeats)
    examples = subject.examples
    return StudyMeta(
        name=options.name,
        settings=options.settings(),
        optimizers=list(space.optimizers),
        class_names=list(examples.class_names),
        class_counts=np.bincount(examples.labels, minlength=len(examples.class_names)).tolist(),
        split_sizes={
            "train": len(first.train),
            "validation": len(first.validation),
            "test": len(first.test),
        },
        data={
            **subject.facts(),
            "groups": len({name for name in examples.groups if name}),
            "split_warnings": splits.warnings(several=False),
            "fingerprint": examples.fingerprint,
        },
        space={"name": space.name, "fingerprint": space.fingerprint, "table": space.table},
        split_digests={
            f"{purpose}/{repeat}": splits(purpose, repeat).digest
            for repeat in range(looks[0].repeats)
            for purpose in ("search", "confirm")
        },
        device=subject.device,
        versions=[{"python": platform.python_version()} | {n: version(n) for n in PACKAGES}],
        weights=subject.weights,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        git_commit=_git_commit(),
        looks=list(looks),
        code=code,
    )


def _git_commit() -> str | None:
    """The commit of this program, if it runs from a checkout."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
