"""Find the best optimizer for a set of images, and whether the differences are real.

    import study
    found = study.run(data="my_photos")   # like `python -m study.search --data my_photos`
    found = study.load()                  # the newest study under logs/

Heavy libraries are imported only when one of the two functions is called.
"""

import sys
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from study.report.notebook import Study


def run(
    data: str | PathLike[str] | None = None,
    space: str | PathLike[str] = "default",
    **options: Any,
) -> "Study | list[Study] | None":
    """Start or resume a study, as `python -m study.search` does, and return it.

    An interrupt loses nothing: the same call resumes. On a GPU, TensorFlow computes
    deterministically in this process from now on.

    Args:
        data: folder of class folders; None: the built-in faces.
        space: default, quick, blog_t11 or a .toml file.
        options: the command's options as Python values: `optimizers=["adam", "sgd"]`,
            `repeats=5`, `dry_run=True`, `features="rows.npz"` instead of `data`;
            `python -m study.search --help-all` lists them all.

    Returns:
        the study; a list of studies where `base` lists several; None after a dry run.

    Raises:
        UserError: a mistake that the user can fix, in one sentence.
    """
    from study.report.notebook import Study
    from study.search.command import search
    from study.search.command_line import as_arguments

    try:
        found = search(as_arguments(data=data, space=space, **options))
    except KeyboardInterrupt:
        print("\nstopped; nothing is lost: the same call resumes", file=sys.stderr)
        raise
    if found[0].dry_run:
        return None
    studies = [Study(one.logs / one.name) for one in found]
    return studies if len(studies) > 1 else studies[0]


def load(name: str | None = None, logs: str | PathLike[str] = "logs") -> "Study":
    """Return the study of this name under `logs`, finished or not; None: the newest study.

    Raises:
        UserError: no study was found.
    """
    from study.report.notebook import find

    return find(name, logs)
