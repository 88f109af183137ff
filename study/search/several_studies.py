"""One study after another, one for each base, and the comparison of them at the end.

In: options that differ in their base, and a search space. What a user can have got wrong with any
base is said before the first one is trained. The same command resumes where it was stopped: studies
that are finished only write their report again.
"""

from collections.abc import Sequence

from study.common.bases import short_name
from study.features.backbone import load_backbone
from study.report.write import write_comparisons
from study.search.options import Options
from study.search.study_run import run
from study.search.time_spent import TimeSpent
from study.space.space import SearchSpace


def run_each(every: Sequence[Options], space: SearchSpace, spent: TimeSpent) -> None:
    """Run a study for each of the options; several are compared.

    The time until now, in `spent`, is the first one's.

    Raises:
        UserError: see `load_backbone` and `run`.
    """
    if len(every) > 1:
        for options in every:
            _check_base(options)
    for place, options in enumerate(every, start=1):
        if len(every) > 1:
            name = short_name(options.base)
            print(f"\nstudy {place} of {len(every)}: {options.name}, base {name}")
        run(options, space, spent if place == 1 else TimeSpent())
    if len(every) > 1 and not every[0].dry_run:
        write_comparisons(every[0].logs, [options.name for options in every])


def _check_base(options: Options) -> None:
    """Build it once and let it go: it is there, has weights, and takes such images."""
    load_backbone(
        options.weights,
        base=options.base,
        image_size=options.image_size,
        preprocess=options.preprocess,
        device=options.own_device,
    )
