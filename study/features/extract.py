"""Every image once through a frozen base: a folder of photos becomes a table of numbers.

In: an `ImageSet` and a `Backbone`. Out: rows (N, width) float32, in the order of the images.
Nothing random happens before the frozen layers, so one pass replaces one pass an epoch exactly.
Each distinct content is computed once and kept on disk (`row_cache`). The network works on one
batch on a GPU, on one on every core of a CPU, while threads decode the next ones. A kill loses the
rows of at most `CHUNK_SECONDS`.
"""

import hashlib
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from study.common.errors import UserError
from study.common.progress import progress
from study.common.text import printable
from study.features.backbone import Backbone
from study.features.row_cache import RowCache
from study.features.row_room import feature_rows
from study.images.image_set import ImageSet
from study.images.pixels.decoding import decode

CACHE_VERSION = 1  # raise it when decoding or preprocessing changes: old rows are then left alone
CHUNK_SECONDS = 10.0  # between two writes to the cache
CHUNK_ROWS = 4096  # and at most this many rows: a GPU fills them sooner
CPU_PIXELS = 2 * 336 * 336  # of a batch on one core: 60 to 120 MB of activations
GPU_PIXELS = 16 * 336 * 336  # of a batch on a GPU: 1 GB
MAX_BATCH = 64
BATCHES_AHEAD = 2  # decoded or being decoded while the network works
Forward = Callable[[np.ndarray], np.ndarray]


class FeatureSet(NamedTuple):
    """Pooled features of all images and what it took to get them."""

    features: np.ndarray  # (N, width) float32
    computed: int  # distinct images that went through the network
    cached: int  # distinct images that came from the cache
    seconds: float


def extract_features(
    images: ImageSet, backbone: Backbone, *, cache_dir: Path | None = None
) -> FeatureSet:
    """Compute the (N, width) float32 rows of `images`, or read them from the cache.

    `cache_dir` None is the user's cache folder, which is done without (with a warning) where it
    cannot be written. Peak memory is the result and a few batches, whatever N is.

    Raises:
        UserError: the given `cache_dir` cannot be written, or an image has changed on disk.
    """
    start = time.monotonic()
    cache = _open_cache(cache_dir, backbone)
    features = feature_rows(len(images.paths), backbone.width, cache.folder if cache else None)
    rows: dict[str, int] = {}  # key -> the first row that needs it
    for row, key in enumerate(images.feature_keys):
        rows.setdefault(key, row)
    missing = _fill_from_cache(features, rows, cache)
    if missing:
        _compute(features, missing, images, backbone, cache)
    for row, key in enumerate(images.feature_keys):
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
    images: ImageSet,
    backbone: Backbone,
    cache: RowCache | None,
) -> None:
    """Run the missing rows through the network, writing a chunk to the cache now and then."""
    batch = batch_size(backbone)
    batches = _batches(images, missing, backbone.size, batch, forward_passes(backbone))
    results = _in_order(forward_pass(backbone), batches, forward_passes(backbone))
    saved, last_save = 0, time.monotonic()
    with progress("features", len(missing), "images") as advance:
        for first, found in results:
            part = missing[first : first + batch]
            features[[row for _, row in part]] = found[: len(part)]
            done = first + len(part)
            advance(len(part))
            due = time.monotonic() - last_save > CHUNK_SECONDS or done - saved >= CHUNK_ROWS
            if cache and (due or done == len(missing)):
                cache = _save(cache, features, missing[saved:done])
                saved, last_save = done, time.monotonic()


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
    images: ImageSet, missing: list[tuple[str, int]], size: int, batch: int, most: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (position in `missing`, pixels (batch, size, size, 3) uint8); the last one is padded.

    Threads stay a few batches ahead of the `most` that are computed at once, no further: memory
    does not grow with N.
    """
    jobs: deque[Future[np.ndarray]] = deque()
    todo = iter(missing)
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as threads:

        def refill() -> None:
            for _, row in islice(todo, (BATCHES_AHEAD + most) * batch - len(jobs)):
                jobs.append(threads.submit(_pixels, images, row, size))

        try:
            for first in range(0, len(missing), batch):
                refill()
                pixels = np.zeros((batch, size, size, 3), np.uint8)
                for place in range(min(batch, len(jobs))):
                    pixels[place] = jobs.popleft().result()
                refill()
                yield first, pixels
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def _pixels(images: ImageSet, row: int, size: int) -> np.ndarray:
    """Decode one image, after making sure that it is still the one that was looked at."""
    path = images.paths[row]
    try:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{printable(path)} cannot be read any more ({error.strerror})") from error
    if content != images.digests[row]:
        raise UserError(
            f"{printable(path)} was changed while the study ran: leave the images alone and "
            "start it again"
        )
    return decode(path, size, images.scales)
