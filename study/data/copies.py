"""Thumbnails of images -> which images show the same pixels, and groups of near-duplicates.

A photo and a copy of it on both sides of a split measure memory. A photo stored with other
metadata, or saved again without loss, has another digest and is the same to a model. Hashing the
pixels of every photo would take nearly as long as decoding it, so only images with equal thumbnails
are decoded once more: equal pixels have equal thumbnails.

Copies that were saved with loss, resized or retouched are near-duplicates. Two images are so if
their thumbnails in grey, 17 x 16, correlate by `CORRELATION` and their difference hashes (256
bits: is a pixel brighter than its left neighbour?) differ in at most `BITS`, or if they correlate
by `ALONE`, where a smooth image leaves the hash to noise; and their 4 x 4 colours correlate by
`COLOUR`. Each of these by itself takes different images for copies: 225 pairs of handwritten digits
differ in at most 8 bits, 176 pairs of 2,624 solar cells correlate by 0.995, discs of different
colours look the same in grey.

Together they found none of 400 faces (ten of each person), none of 1,797 digits, and 79 of the
solar cells, neighbours in one photo; of copies as JPEG of quality 50 99 to 100 %, of quality 20 95
to 100 %, of half the size 69 (faces of 92 x 112 pixels) to 100 %, brightened 90 to 100 %, blurred
over two pixels 62 to 100 %. Rotated and cropped copies, and those of 8 x 8 pixels, are not found.

Candidates come from a k-d tree over the thumbnails' principal components, so a million images do
not need a million squared comparisons.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from study.common.progress import progress
from study.data.examples import components
from study.data.pixels.decoding import SHADES, Inspected

TOGETHER, KEEP = "together", "keep"  # values of the option `near_duplicates`
CORRELATION = 0.995
BITS = 24
ALONE = 0.998
COLOUR = 0.95
COLUMNS, ROWS = SHADES
GREY = COLUMNS * ROWS  # the first numbers of a thumbnail
COMPONENTS = 8  # principal ones that the tree is built of
CROWD = 100  # candidates of one image
CHUNK = 2048  # images whose candidates are searched for together
PIECE = 32_768  # pairs compared at once
TINY = 1e-6
FAINT = 2.0  # grey levels of standard deviation: below it there is nothing to compare


def contents(
    paths: Sequence[Path], found: Sequence[Inspected], hashed: Callable[[list[Path]], list[str]]
) -> tuple[str, ...]:
    """Return N digests that are equal where the pixels are: the file's, or that of its pixels.

    `hashed` calls `pixel_digest` on each of some paths, in threads.
    """
    alike: dict[tuple[bytes, str], dict[str, Path]] = defaultdict(dict)
    for path, one in zip(paths, found, strict=True):
        kind = one.grey.kind if one.grey else ""
        alike[one.thumbnail, kind].setdefault(one.digest, path)
    doubtful = {
        digest: path
        for files in alike.values()
        if len(files) > 1  # of different bytes
        for digest, path in files.items()
    }
    digests = hashed(list(doubtful.values())) if doubtful else []
    digest_of = dict(zip(doubtful, digests, strict=True))
    return tuple(digest_of.get(one.digest, one.digest) for one in found)


def near_copies(thumbnails: UInt8[np.ndarray, "N 320"]) -> list[tuple[int, ...]]:
    """Return groups of two or more near-duplicates, joined by chains, each in ascending order."""
    from scipy.spatial import KDTree  # here, since it is too slow to load for --help

    rows = np.flatnonzero(thumbnails[:, :GREY].std(axis=1) >= FAINT)
    if len(rows) < 2:
        return []
    units = _unit_vectors(thumbnails[rows, :GREY])
    _, axes = np.linalg.eigh(units.T @ units)  # along the last the thumbnails differ most
    tree = KDTree(units @ axes[:, -COMPONENTS:])
    pairs = np.concatenate([*_pairs(tree, units, thumbnails[rows])])
    number = components(len(rows), pairs)
    order = np.argsort(number, kind="stable")
    groups = np.split(rows[order], np.flatnonzero(np.diff(number[order])) + 1)
    return sorted(tuple(group.tolist()) for group in groups if len(group) > 1)


def _unit_vectors(thumbnails: UInt8[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    """Return vectors of mean 0 and length 1, or 0 if all are equal: products are correlations."""
    centred = thumbnails.astype(np.float32)
    centred -= centred.mean(axis=1, keepdims=True)
    units: np.ndarray = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), TINY)
    return units


def _pairs(
    tree: Any, units: Float32[np.ndarray, "n 272"], thumbnails: UInt8[np.ndarray, "n 320"]
) -> Iterator[np.ndarray]:
    """Yield pairs of near-duplicates, piece by piece.

    In a crowd, such as the frames of a still film, a matched image is not searched around again:
    the pairs would grow with its square.
    """
    radius = np.sqrt(2 - 2 * CORRELATION) * 1.0001
    yield np.empty((0, 2), np.int64)
    crowded: list[int] = []
    with progress("comparing thumbnails", len(thumbnails), "images") as advance:
        for first in range(0, len(thumbnails), CHUNK):
            chunk = np.arange(first, min(first + CHUNK, len(thumbnails)))
            around = tree.query_ball_point(tree.data[chunk], radius, return_length=True)
            crowded += chunk[around > CROWD].tolist()
            alone = chunk[around <= CROWD]
            near = tree.query_ball_point(tree.data[alone], radius)
            left = np.repeat(alone, [len(found) for found in near])
            right = np.array([row for found in near for row in found], np.int64)
            yield _checked(units, thumbnails, left[right != left], right[right != left])
            advance(len(chunk))
    matched = np.zeros(len(thumbnails), bool)
    for centre in crowded:
        if not matched[centre]:
            right = np.asarray(tree.query_ball_point(tree.data[centre], radius), np.int64)
            found = _checked(units, thumbnails, np.full(len(right), centre), right)
            matched[found[:, 1]] = True
            yield found


def _checked(
    units: Float32[np.ndarray, "n 272"],
    thumbnails: UInt8[np.ndarray, "n 320"],
    left: Int[np.ndarray, " candidates"],
    right: Int[np.ndarray, " candidates"],
) -> Int[np.ndarray, "pairs 2"]:
    """Return the candidates that are near-duplicates."""
    kept = [np.empty((0, 2), np.int64)]
    for at in range(0, len(left), PIECE):
        a, b = left[at : at + PIECE], right[at : at + PIECE]
        grey = np.einsum("ij,ij->i", units[a], units[b])
        a, b, grey = a[grey >= CORRELATION], b[grey >= CORRELATION], grey[grey >= CORRELATION]
        differ = (_hashes(thumbnails[a]) != _hashes(thumbnails[b])).sum(axis=(1, 2))
        colours = [_unit_vectors(thumbnails[side, GREY:]) for side in (a, b)]
        same = np.einsum("ij,ij->i", *colours) >= COLOUR
        near = ((differ <= BITS) | (grey >= ALONE)) & same
        kept.append(np.stack([a[near], b[near]], axis=1))
    return np.concatenate(kept)


def _hashes(thumbnails: UInt8[np.ndarray, "n 320"]) -> Bool[np.ndarray, "n 16 16"]:
    grid = thumbnails[:, :GREY].reshape(-1, ROWS, COLUMNS)
    found: np.ndarray = grid[:, :, 1:] > grid[:, :, :-1]
    return found
