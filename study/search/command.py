"""Find the best configuration of every optimizer on your images, and rank the optimizers.

    python -m study.search --tuner hyperband          # the built-in faces
    python -m study.search --data my_photos           # a folder with one folder per class
    python -m study.search --features rows.npz        # rows that any model has computed
    python -m study.search --base VGG16,ResNet50      # a study of each base, then a comparison

Prints the plan, computes the features of every image once (cached), searches, confirms, and ends
with the answer and what to do next. The same command resumes a study.
"""

import argparse
import errno
import sys
from collections.abc import Sequence
from pathlib import Path

from study.common.command import STOPPED, complain, stoppable
from study.common.errors import UserError
from study.common.tensorflow import import_tensorflow
from study.search.command_line import bases_of, each_base, given_values, parse, resolve_options
from study.search.options import Options
from study.search.time_spent import TimeSpent
from study.training.program_cache import keep_programs


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 2 after a mistake of the user's, 130 after Ctrl-C or SIGTERM."""
    arguments = parse(argv)  # --help ends here, before anything heavy is imported
    try:
        with stoppable():
            given_values(arguments)  # refuse wrong values now, not after TensorFlow's start
            search(arguments)
    except (UserError, BrokenPipeError, MemoryError) as error:
        return complain(error, arguments)
    except KeyboardInterrupt:
        print(
            "\nstopping ... nothing is lost: the same command resumes (running work finishes "
            "first; Ctrl-C again quits now)",
            file=sys.stderr,
        )
        return STOPPED
    return 0


def search(arguments: argparse.Namespace) -> list[Options]:
    """Start or resume a study for each base, and report; return the options of each.

    Raises:
        UserError: a mistake that the user can fix, or a full disk; no record is lost.
    """
    spent = TimeSpent()
    keep_programs(arguments.cache_dir and Path(arguments.cache_dir))
    import_tensorflow()
    from study.features.device import pick_device
    from study.search.own_code import check_used, run_code
    from study.search.plan import check_asked
    from study.search.studies import run_each
    from study.space.own_optimizers import blamed
    from study.space.search_space import load_space

    try:
        # before the space's optimizers start TensorFlow; on a cluster a GPU here is for a worker
        pick_device("cpu" if arguments.cluster else arguments.device)
        with blamed():
            run_code(map(Path, arguments.code or ()))
            space = load_space(arguments.space)
            check_used(space)
            bases = bases_of(arguments, space.study)
            every = [
                resolve_options(one, space.study, space.name) for one in each_base(arguments, bases)
            ]
            if every[0].optimizers:
                space = space.restrict(every[0].optimizers.split(","))
            check_asked(every[0].ask, space)
            run_each(every, space, spent)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if not full and not error.filename:
            raise
        place = f" ({error.filename})" if error.filename else ""
        what = f"cannot read or write{place}: {error.strerror}; mend that"
        if full:
            what = f"the disk is full or a quota is exceeded{place}: free some space"
        raise UserError(f"{what}, then resume with the same command; no record is lost") from error
    return every
