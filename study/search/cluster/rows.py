"""Images on their way to workers, rows on their way back, in the order of the images."""

from collections.abc import Iterator

import numpy as np

from study.features.backbone import Backbone
from study.features.extract import Pictures, batch_size
from study.search.cluster.parts import in_parts
from study.search.cluster.worker import RowSetting
from study.search.cluster.workers import Workers

PART = 64  # images that are sent at once, rounded to whole batches


def rows_on_workers(
    pictures: Pictures, *, workers: Workers, backbone: Backbone, setting: RowSetting
) -> Iterator[np.ndarray]:
    """Rows of the pictures in their order, part by part, (n, width) float32; see `RowsOf`.

    A worker computes in the same batches as this process would, so they are equal bit by bit.

    Raises:
        UserError: an image is missing on a worker's machine, or has changed; or it kills workers.
    """
    size = batch_size(backbone) * max(1, PART // batch_size(backbone))
    for answer in in_parts(pictures, size, workers.ready, "rows", setting):
        yield answer.found
