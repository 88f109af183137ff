"""The workers of a study with these options, and whether its runs were rounded as here."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from study.common.bases import DEFAULT_BASE
from study.records.study_files import STUDY_FILE
from study.records.study_meta import load_meta
from study.search.cluster.connect import connected
from study.search.cluster.workers import Workers
from study.search.options import Options
from study.training.rounding import rounding_digest


@contextmanager
def workers_of(options: Options) -> Iterator[Workers | None]:
    """The workers of `cluster`, begun and ended here; None where this process trains.

    Raises:
        UserError: see `connected` and `Workers`.
    """
    if options.cluster is None:
        yield None
        return
    with connected(options.cluster):
        cache_dir = str(options.cache_dir.absolute()) if options.cache_dir else None
        workers = Workers(options.device, cache_dir)
        try:
            yield workers
        finally:
            workers.close()


def recorded_device(options: Options) -> Mapping[str, Any]:
    """What the study that is to be continued was computed on; empty for a new one.

    Raises:
        UserError: its settings are damaged.
    """
    folder = options.logs / options.name
    if options.overwrite or not (folder / STUDY_FILE).exists():
        return {}
    found = dict(load_meta(folder).device)
    if options.base != DEFAULT_BASE:  # which alone computes in the device's fastest arithmetic
        found.pop("dtype", None)
    return found


def warn_of_other_rounding(recorded: str) -> None:
    """Say where this process rounds otherwise than the workers of the study so far."""
    if rounding_digest() != recorded:
        print(
            "warning: this machine rounds otherwise than the workers that made the runs so far "
            "(another processor, or another number of threads), so new runs may differ in their "
            "last digits from what they would be there",
            file=sys.stderr,
        )
