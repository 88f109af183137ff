"""Every image once through a frozen base: a folder of photos becomes a table of numbers.

In: an `ImageSet` and a `Backbone`. Out: rows (N, width) float32, in the order of the images.
Nothing random happens before the frozen layers, so one pass replaces one pass an epoch exactly.
Each distinct content is computed once and kept on disk (`row_cache`). The network works on one
batch on a GPU, on one on every core of a CPU, while threads decode the next ones. A kill loses the
rows of at most `CHUNK_SECONDS`.

What each row of a table of features shows: an image, or a view of one.
"""

import hashlib
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from study.common.errors import UserError
from study.common.progress import progress
from study.common.text import printable
from study.data.image_set import ImageSet
from study.data.pixels.deep_grey import Scales
from study.data.pixels.views import decode_view, view_key
from study.data.rows.row_room import feature_rows
from study.features.backbone import Backbone
from study.features.row_cache import RowCache

CACHE_VERSION = 1  # raise it when decoding or preprocessing changes: old rows are then left alone
CHUNK_SECONDS = 10.0  # between two writes to the cache
CHUNK_ROWS = 4096  # and at most this many rows: a GPU fills them sooner
CPU_PIXELS = 2 * 336 * 336  # of a batch on one core: 60 to 120 MB of activations
GPU_PIXELS = 16 * 336 * 336  # of a batch on a GPU: 1 GB
MAX_BATCH = 64
BATCHES_AHEAD = 2  # decoded or being decoded while the network works
Forward = Callable[[np.ndarray], np.ndarray]


class RowSource(NamedTuple):
    """A file, and how it is looked at."""

    path: Path
    digest: str  # sha256 of the file's bytes, hex
    content: str  # digest of what the features of the image depend on, hex
    view: int = 0  # number of the view; 0 is the image itself

    @property
    def key(self) -> str:
        """Digest of what the features of the picture depend on, hex."""
        return view_key(self.content, self.view)


RowSources = Sequence[RowSource]
RowsOf = Callable[[RowSources], Iterator[np.ndarray]]  # rows in their order, some at a time


def row_sources(images: ImageSet, views: np.ndarray | None = None) -> list[RowSource]:
    """One for each row.

    Args:
        images: N of them.
        views: (N, n_views) the rows that the views of each image have, the first its own; None:
            there are only the images, in their order.
    """
    own = list(map(RowSource, images.paths, images.digests, images.feature_keys))
    if views is None:
        return own
    rows: dict[int, RowSource] = dict(enumerate(own))
    for number in range(1, views.shape[1]):
        for image, row in enumerate(views[:, number].tolist()):
            if row != image:  # else it never trains, and is only looked at as it is
                rows[row] = own[image]._replace(view=number)
    return [rows[row] for row in range(len(rows))]


class FeatureSet(NamedTuple):
    """Pooled features of all images and their views, and what it took to get them."""

    features: np.ndarray  # (N, width) float32; with views as many rows as these have
    computed: int  # distinct contents that went through the network
    cached: int  # distinct contents that came from the cache
    seconds: float


def extract_features(
    images: ImageSet,
    backbone: Backbone,
    *,
    cache_dir: Path | None = None,
    views: np.ndarray | None = None,
    rows_of: RowsOf | None = None,
) -> FeatureSet:
    """Compute the (N, width) float32 rows of `images`, or read them from the cache.

    Peak memory is the result and a few batches, whatever N is.

    Args:
        images: N of them.
        backbone: computes the rows.
        cache_dir: None is the user's cache folder, which is done without (with a warning) where it
            cannot be written.
        views: (N, n_views) the rows that the views of each image get, see `row_sources`.
        rows_of: computes what is missing; None: this process.

    Raises:
        UserError: the given `cache_dir` cannot be written, or an image has changed on disk.
    """
    start = time.monotonic()
    cache = _open_cache(cache_dir, backbone)
    pictures = row_sources(images, views)
    features = feature_rows(len(pictures), backbone.width, cache.folder if cache else None)
    keys = [picture.key for picture in pictures]
    rows: dict[str, int] = {}  # key -> the first row that needs it
    for row, key in enumerate(keys):
        rows.setdefault(key, row)
    missing = _fill_from_cache(features, rows, cache)
    if missing:
        here = partial(computed_rows, backbone=backbone, scales=images.scales)
        _compute(features, missing, pictures, rows_of or here, cache)
    for row, key in enumerate(keys):
        if rows[key] != row:
            features[row] = features[rows[key]]
    seconds = time.monotonic() - start
    return FeatureSet(features, len(missing), len(rows) - len(missing), seconds)


def batch_size(backbone: Backbone) -> int:
    """Images that go through the network at once."""
    pixels = GPU_PIXELS if backbone.device.kind == "gpu" else CPU_PIXELS
    return max(1, min(MAX_BATCH, pixels // backbone.size**2))


def forward_passes(backbone: Backbone) -> int:
    """Batches under way at once: one on a GPU, one on every core of a CPU."""
    return 1 if backbone.device.kind == "gpu" else os.cpu_count() or 1


def forward_pass(backbone: Backbone) -> Forward:
    """The compiled network for full batches: uint8 (batch, size, size, 3) -> (batch, width).

    One fixed batch shape: nothing is traced twice, and a row does not depend on how many images
    happen to be computed with it.
    """
    import tensorflow as tf

    shape = (batch_size(backbone), backbone.size, backbone.size, 3)

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8)])  # type: ignore[untyped-decorator]
    def run(pixels: "tf.Tensor") -> "tf.Tensor":
        return backbone.model(tf.cast(pixels, tf.float32), training=False)

    def forward(pixels: np.ndarray) -> np.ndarray:
        with tf.device(f"/{backbone.device.kind.upper()}:0"):
            result: np.ndarray = run(tf.constant(pixels)).numpy()
        return result

    return forward


def _open_cache(cache_dir: Path | None, backbone: Backbone) -> RowCache | None:
    from platformdirs import user_cache_path

    key = f"{backbone.digest[:16]}-{backbone.size}-{backbone.preprocess}-{backbone.dtype}"
    root = cache_dir or user_cache_path("optimizer-study")
    folder = root / f"features-v{CACHE_VERSION}" / key
    try:
        return RowCache(folder, backbone.width)
    except UserError as error:
        if cache_dir is not None:
            raise
        print(f"warning: no feature cache: {error}", file=sys.stderr)
        return None


def _fill_from_cache(
    features: np.ndarray, rows: dict[str, int], cache: RowCache | None
) -> list[tuple[str, int]]:
    """Copy the cached rows; returns (key, row) of what is left to compute, in row order."""
    missing = dict(rows)
    for keys, chunk in cache.read() if cache else ():
        for place, key in enumerate(keys):
            if (row := missing.pop(key, None)) is not None:
                features[row] = chunk[place]
        if not missing:
            break
    return list(missing.items())


def _compute(
    features: np.ndarray,
    missing: list[tuple[str, int]],
    pictures: RowSources,
    rows_of: RowsOf,
    cache: RowCache | None,
) -> None:
    """Have the missing rows computed, writing a chunk to the cache now and then."""
    done, saved, last_save = 0, 0, time.monotonic()
    with progress("features", len(missing), "images") as advance:
        for found in rows_of([pictures[row] for _, row in missing]):
            part = missing[done : done + len(found)]
            features[[row for _, row in part]] = found
            done += len(part)
            advance(len(part))
            due = time.monotonic() - last_save > CHUNK_SECONDS or done - saved >= CHUNK_ROWS
            if cache and (due or done == len(missing)):
                cache = _save(cache, features, missing[saved:done])
                saved, last_save = done, time.monotonic()


def computed_rows(
    pictures: RowSources, backbone: Backbone, scales: Scales, forward: Forward | None = None
) -> Iterator[np.ndarray]:
    """Rows of the pictures in their order, batch by batch, (n, width) float32.

    Args:
        pictures: of files unchanged since they were looked at.
        backbone: computes them.
        scales: white points of their deep grey.
        forward: what `forward_pass` made of the backbone, to be used again; None: made here.

    Raises:
        UserError: an image has changed on disk, or can no longer be read.
    """
    most, batch = forward_passes(backbone), batch_size(backbone)
    pixels_of = partial(_pixels, size=backbone.size, scales=scales)
    batches = _batches(pictures, pixels_of, backbone.size, batch, most)
    for first, found in _in_order(forward or forward_pass(backbone), batches, most):
        yield found[: len(pictures) - first]


def _in_order(
    forward: Forward, batches: Iterator[tuple[int, np.ndarray]], most: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (position, features) in the order of the batches, `most` of them computed at once."""
    waiting: deque[tuple[int, Future[np.ndarray]]] = deque()
    with ThreadPoolExecutor(most) as threads:
        try:
            for first, pixels in batches:
                waiting.append((first, threads.submit(forward, pixels)))
                if len(waiting) > most:  # one more than can run: no core waits
                    yield waiting[0][0], waiting.popleft()[1].result()
            while waiting:
                yield waiting[0][0], waiting.popleft()[1].result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def _save(cache: RowCache, features: np.ndarray, part: list[tuple[str, int]]) -> RowCache | None:
    """Append to the cache; None (and a warning) once the disk refuses, and the study goes on."""
    try:
        cache.append([key for key, _ in part], features[[row for _, row in part]])
    except OSError as error:
        print(
            f"warning: feature cache {cache.folder} cannot be written ({error.strerror}); "
            "going on without it",
            file=sys.stderr,
        )
        return None
    return cache


def _batches(
    pictures: RowSources,
    pixels_of: Callable[[RowSource], np.ndarray],
    size: int,
    batch: int,
    most: int,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (position in `pictures`, pixels (batch, size, size, 3) uint8); the last one is padded.

    Threads stay a few batches ahead of the `most` that are computed at once, no further: memory
    does not grow with N.
    """
    jobs: deque[Future[np.ndarray]] = deque()
    todo = iter(pictures)
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as threads:

        def refill() -> None:
            for picture in islice(todo, (BATCHES_AHEAD + most) * batch - len(jobs)):
                jobs.append(threads.submit(pixels_of, picture))

        try:
            for first in range(0, len(pictures), batch):
                refill()
                pixels = np.zeros((batch, size, size, 3), np.uint8)
                for place in range(min(batch, len(jobs))):
                    pixels[place] = jobs.popleft().result()
                refill()
                yield first, pixels
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def _pixels(picture: RowSource, size: int, scales: Scales) -> np.ndarray:
    """Decode one image, after making sure that it is still the one that was looked at."""
    path = picture.path
    try:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{printable(path)} cannot be read any more ({error.strerror})") from error
    if content != picture.digest:
        raise UserError(
            f"{printable(path)} was changed while the study ran: leave the images alone and "
            "start it again"
        )
    return decode_view(path, size, scales, key=picture.content, number=picture.view)
