"""What each row of a table of features shows: an image, or a view of one."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from study.images.image_set import ImageSet
from study.images.pixels.views import view_key


class Picture(NamedTuple):
    """A file, and how it is looked at."""

    path: Path
    digest: str  # sha256 of the file's bytes, hex
    content: str  # digest of what the features of the image depend on, hex
    view: int = 0  # number of the view; 0 is the image itself

    @property
    def key(self) -> str:
        """Digest of what the features of the picture depend on, hex."""
        return view_key(self.content, self.view)


def pictures_of(images: ImageSet, views: np.ndarray | None = None) -> list[Picture]:
    """One for each row.

    Args:
        images: N of them.
        views: (N, n_views) the rows that the views of each image have, the first its own; None:
            there are only the images, in their order.
    """
    own = list(map(Picture, images.paths, images.digests, images.feature_keys))
    if views is None:
        return own
    rows: dict[int, Picture] = dict(enumerate(own))
    for number in range(1, views.shape[1]):
        for image, row in enumerate(views[:, number].tolist()):
            if row != image:  # else it never trains, and is only looked at as it is
                rows[row] = own[image]._replace(view=number)
    return [rows[row] for row in range(len(rows))]
