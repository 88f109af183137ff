"""Which optimizer is best on these images, and is the difference real?

    import study
    found = study.run(data="my_photos")   # what `python -m study.search --data my_photos` does
    found = study.load()                  # the newest study under logs/

Nothing heavy is imported before one of them is called.
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
    """Begin or resume a study as `python -m study.search` does, and return it.

    An interrupt loses nothing: the same call resumes. On a GPU, TensorFlow computes
    deterministically in this process from now on.

    Args:
        data: folder of class folders; None: the built-in faces.
        space: default, quick, blog_t11 or a .toml file.
        options: those of the command as Python has them: `optimizers=["adam", "sgd"]`,
            `repeats=5`, `dry_run=True`, `features="rows.npz"` in place of `data`;
            `python -m study.search --help-all` lists them all.

    Returns:
        the study, or a list of them where `base` names several; None after a dry run, which
        leaves none.

    Raises:
        UserError: a mistake that you can mend, in one sentence.
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
    """Return the study of this name under `logs`, finished or not; None: the newest.

    Raises:
        UserError: there is none.
    """
    from study.report.notebook import find

    return find(name, logs)
