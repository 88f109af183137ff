"""Each image once through a frozen base: a folder of photos becomes a table of numbers.

In: an `ImageSet` and a `Backbone`. Out: a row of float32 for each image, or view of one, in their
order. Nothing random happens before the frozen layers, so one pass exactly replaces a pass in each
epoch. Each distinct content is computed once and kept on disk (`row_cache`); a kill loses the rows
of at most `CHUNK_SECONDS`. The network works on one batch on a GPU, on one for each core of a CPU,
while threads decode the next batches.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int, UInt8
from platformdirs import user_cache_path

from study.common.bases import short_name
from study.common.errors import UserError, warn
from study.common.progress import progress
from study.common.threads import in_threads
from study.data.image_set import ImageSet
from study.data.pixels.deep_grey import Scales
from study.data.pixels.views import decode_view, view_key
from study.data.rows.row_room import feature_rows
from study.features.backbone import Backbone
from study.features.row_cache import RowCache

CACHE_VERSION = 1  # raise it when decoding or preprocessing changes: old rows are then ignored
CHUNK_SECONDS = 10.0  # between two writes to the cache
CHUNK_ROWS = 4096  # at most, between two writes: a GPU fills them sooner
CPU_PIXELS = 2 * 336 * 336  # of a batch on one core: 60 to 120 MB of activations
GPU_PIXELS = 16 * 336 * 336  # of a batch on a GPU: 1 GB
MAX_BATCH = 64
REMEDY = "check its weights and how it expects pixels (`preprocess`), or give another base"
BATCHES_AHEAD = 2  # decoded or being decoded while the network works


class RowSource(NamedTuple):
    """The image, or view of one, that a row shows."""

    path: Path
    digest: str  # sha256 of the file's bytes, hex
    content: str  # digest of what the features of the image depend on, hex
    view: int = 0  # number of the view; 0 is the image itself

    @property
    def key(self) -> str:
        """Digest of what the features of the row depend on, hex."""
        return view_key(self.content, self.view)


Forward = Callable[[UInt8[np.ndarray, "b size size 3"]], Float32[np.ndarray, "b d"]]
RowsOf = Callable[[Sequence[RowSource]], Iterator[Float32[np.ndarray, "_ d"]]]  # some at a time


class FeatureSet(NamedTuple):
    """Pooled features of all images and their views, and the work they took."""

    features: Float32[np.ndarray, "R d"]
    computed: int  # distinct contents that went through the network
    cached: int  # distinct contents that came from the cache
    seconds: float


def extract_features(
    images: ImageSet,
    backbone: Backbone,
    *,
    cache_dir: Path | None = None,
    views: Int[np.ndarray, "N V"] | None = None,
    rows_of: RowsOf | None = None,
) -> FeatureSet:
    """Compute the rows of `images`, or read them from the cache.

    Peak memory is the result and a few batches, however many images there are.

    Args:
        images: N images.
        backbone: computes the rows.
        cache_dir: None: the user's cache folder; if it cannot be written, a warning is printed.
        views: see `row_sources`.
        rows_of: computes the missing rows; None: this process does.

    Raises:
        UserError: the given `cache_dir` cannot be written, an image has changed on disk, or the
            base gives NaN, infinity, or one row for all images.
    """
    start = time.monotonic()
    cache = _open_cache(cache_dir, backbone)
    sources = row_sources(images, views)
    features = feature_rows(len(sources), backbone.width, cache.folder if cache else None)
    keys = [source.key for source in sources]
    rows: dict[str, int] = {}  # key -> the first row that needs it
    for row, key in enumerate(keys):
        rows.setdefault(key, row)
    missing = _fill_from_cache(features, rows, cache)
    if missing:
        here = partial(computed_rows, backbone=backbone, scales=images.scales)
        _compute(features, missing, sources, rows_of or here, cache, short_name(backbone.base))
    for row, key in enumerate(keys):
        if rows[key] != row:
            features[row] = features[rows[key]]
    if len(rows) > 1 and not _vary(features):
        raise UserError(
            f"`base` {short_name(backbone.base)} gives the same row for all {len(rows)} images, so "
            f"there is nothing to learn: {REMEDY}"
        )
    seconds = time.monotonic() - start
    return FeatureSet(features, len(missing), len(rows) - len(missing), seconds)


def time_needed(
    images: ImageSet,
    backbone: Backbone,
    *,
    cache_dir: Path | None = None,
    views: Int[np.ndarray, "N V"] | None = None,
) -> tuple[int, float]:
    """Return how many rows are not in the cache, and the seconds that this process needs for them.

    One batch is timed. Arguments are those of `extract_features`; nothing is written.
    """
    missing = {source.key for source in row_sources(images, views)}
    if (folder := _cache_folder(cache_dir, backbone)).is_dir():
        for keys, _ in RowCache(folder, backbone.width).read():
            missing.difference_update(keys)
    if not missing:
        return 0, 0.0
    forward = forward_pass(backbone)
    batch = np.zeros((batch_size(backbone), backbone.size, backbone.size, 3), np.uint8)
    forward(batch)  # the first call compiles
    start = time.monotonic()
    forward(batch)
    return len(missing), len(missing) * (time.monotonic() - start) / len(batch)


def row_sources(images: ImageSet, views: Int[np.ndarray, "N V"] | None = None) -> list[RowSource]:
    """Return what each row shows.

    `views` has the rows of the views of each image, the image itself first; None: each image has
    one row, in their order.
    """
    own = list(map(RowSource, images.paths, images.digests, images.feature_keys))
    if views is None:
        return own
    rows: dict[int, RowSource] = dict(enumerate(own))
    for number in range(1, views.shape[1]):
        for image, row in enumerate(views[:, number].tolist()):
            if row != image:  # an image that is never trained on has no views
                rows[row] = own[image]._replace(view=number)
    return [rows[row] for row in range(len(rows))]


def _vary(features: Float32[np.ndarray, "R d"]) -> bool:
    """Return whether any row differs from the first by more than rounding."""
    pieces = range(0, len(features), CHUNK_ROWS)
    return any(
        not np.allclose(features[at : at + CHUNK_ROWS], features[0], rtol=1e-6, atol=0)
        for at in pieces
    )


def _cache_folder(cache_dir: Path | None, backbone: Backbone) -> Path:
    key = f"{backbone.digest[:16]}-{backbone.size}-{backbone.preprocess}-{backbone.dtype}"
    root = cache_dir or user_cache_path("optimizer-study")
    return root / f"features-v{CACHE_VERSION}" / key


def _open_cache(cache_dir: Path | None, backbone: Backbone) -> RowCache | None:
    try:
        return RowCache(_cache_folder(cache_dir, backbone), backbone.width)
    except UserError as error:
        if cache_dir is not None:
            raise
        warn(f"no feature cache: {error}")
        return None


def _fill_from_cache(
    features: Float32[np.ndarray, "R d"], rows: dict[str, int], cache: RowCache | None
) -> list[tuple[str, int]]:
    """Copy the cached rows; return (key, row) of what is left to compute, in row order."""
    missing = dict(rows)
    for keys, chunk in cache.read() if cache else ():
        for place, key in enumerate(keys):
            if (row := missing.pop(key, None)) is not None:
                features[row] = chunk[place]
        if not missing:
            break
    return list(missing.items())


def _compute(
    features: Float32[np.ndarray, "R d"],
    missing: list[tuple[str, int]],
    sources: Sequence[RowSource],
    rows_of: RowsOf,
    cache: RowCache | None,
    base: str,
) -> None:
    """Have the missing rows computed and write them to the cache in chunks; refuse NaN."""
    done, saved, last_save = 0, 0, time.monotonic()
    with progress("features", len(missing), "images") as advance:
        for found in rows_of([sources[row] for _, row in missing]):
            finite = np.isfinite(found).all(axis=1)
            if not finite.all():
                image = sources[missing[done + int(finite.argmin())][1]].path
                raise UserError(f"`base` {base} gives NaN or infinity for {image}: {REMEDY}")
            features[[row for _, row in missing[done : done + len(found)]]] = found
            done += len(found)
            advance(len(found))
            due = time.monotonic() - last_save > CHUNK_SECONDS or done - saved >= CHUNK_ROWS
            if not cache or not (due or done == len(missing)):
                continue
            new, saved, last_save = missing[saved:done], done, time.monotonic()
            try:
                cache.append([key for key, _ in new], features[[row for _, row in new]])
            except OSError as error:
                warn(
                    f"feature cache {cache.folder} cannot be written ({error.strerror}); "
                    "continuing without it"
                )
                cache = None


def computed_rows(
    sources: Sequence[RowSource], backbone: Backbone, scales: Scales, forward: Forward | None = None
) -> Iterator[Float32[np.ndarray, "_ d"]]:
    """Yield the rows of the sources in their order, batch by batch.

    `forward` is the `forward_pass` of the backbone; None: it is made here.

    Raises:
        UserError: an image has changed on disk, or can no longer be read.
    """
    most, batch = forward_passes(backbone), batch_size(backbone)
    pixels_of = partial(_pixels, size=backbone.size, scales=scales)
    ahead = (BATCHES_AHEAD + most) * batch
    batches = _batches(in_threads(pixels_of, sources, os.cpu_count() or 1, ahead), batch)
    rows = in_threads(forward or forward_pass(backbone), batches, most, most)
    for first, found in zip(range(0, len(sources), batch), rows, strict=True):
        yield found[: len(sources) - first]


def batch_size(backbone: Backbone) -> int:
    """Return the number of images that go through the network together."""
    pixels = GPU_PIXELS if backbone.device.kind == "gpu" else CPU_PIXELS
    return max(1, min(MAX_BATCH, pixels // backbone.size**2))


def forward_passes(backbone: Backbone) -> int:
    """Return the number of batches computed concurrently: one on a GPU, one for each CPU core."""
    return 1 if backbone.device.kind == "gpu" else os.cpu_count() or 1


def forward_pass(backbone: Backbone) -> Forward:
    """Return the network compiled for full batches.

    With one fixed batch shape nothing is traced twice, and a row does not depend on how many
    images happen to be computed with it.
    """
    import tensorflow as tf

    shape = (batch_size(backbone), backbone.size, backbone.size, 3)

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8)])  # type: ignore[untyped-decorator]
    def run(pixels: "tf.Tensor") -> "tf.Tensor":
        return backbone.model(tf.cast(pixels, tf.float32), training=False)

    def forward(pixels: UInt8[np.ndarray, "b size size 3"]) -> Float32[np.ndarray, "b d"]:
        with tf.device(f"/{backbone.device.kind.upper()}:0"):
            rows: np.ndarray = run(tf.constant(pixels)).numpy()
        return rows

    return forward


def _batches(
    images: Iterator[UInt8[np.ndarray, "size size 3"]], batch: int
) -> Iterator[UInt8[np.ndarray, "b size size 3"]]:
    """Yield the images in batches; the last one is padded with black images."""
    while some := list(islice(images, batch)):
        yield np.stack([*some, *[np.zeros_like(some[0])] * (batch - len(some))])


def _pixels(source: RowSource, size: int, scales: Scales) -> UInt8[np.ndarray, "size size 3"]:
    """Decode one image, after making sure that it is still the one that was inspected."""
    path = source.path
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{path} can no longer be read ({error.strerror})") from error
    if digest != source.digest:
        raise UserError(
            f"{path} changed while the study ran: do not edit the images, and start the study again"
        )
    return decode_view(path, size, scales, key=source.content, number=source.view)
