"""Thumbnails of images come in, groups of near copies go out: saved again, resized, retouched.

A photo and a copy of it on both sides of a split measure memory. Two images are near copies if
their thumbnails in grey, 17 x 16, correlate by `CORRELATION` and their difference hashes (256
bits: is a pixel brighter than its left neighbour?) differ in at most `BITS`, or if they correlate
by `ALONE`, where a smooth image leaves the hash to noise; and their 4 x 4 colours correlate by
`COLOUR`. Each of these by itself names different images: 225 pairs of handwritten digits differ in
at most 8 bits, 176 pairs of 2,624 solar cells correlate by 0.995, discs of different colours look
the same in grey.

Together they named none of 400 faces (ten of each person), none of 1,797 digits, and 79 of the
solar cells, neighbours in one photo; of copies as JPEG of quality 50 99 to 100 %, of quality 20 95
to 100 %, of half the size 69 (faces of 92 x 112 pixels) to 100 %, brightened 90 to 100 %, blurred
over two pixels 62 to 100 %. Not found are rotated and cropped copies, and those of 8 x 8 pixels.

Candidates come from a k-d tree over the thumbnails' principal components, so a million images are
no million squared pairs.

Which images of a set show the same pixels, whatever their files are.

A photo stored with other metadata, or saved again without loss, has another digest and is the same
to a model. Hashing the pixels of every photo would take nearly as long as decoding it, so only
images whose thumbnails are equal are decoded once more: equal pixels have equal thumbnails.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from study.data.pixels.decoding import SHADES, Inspected

TOGETHER, KEEP = "together", "keep"  # what may be done with near copies
CORRELATION = 0.995
BITS = 24
ALONE = 0.998
COLOUR = 0.95
COLUMNS, ROWS = SHADES
GREY = COLUMNS * ROWS  # the first numbers of a thumbnail
COMPONENTS = 8  # principal ones that the tree is built of
CROWD = 100  # candidates of one image
CHUNK = 2048  # images whose candidates are looked for together
PIECE = 32_768  # pairs compared at once
TINY = 1e-6
FAINT = 2.0  # grey levels of standard deviation: below it there is nothing to compare

Hash = Callable[[list[Path]], list[str]]  # paths -> sha256 of their pixels


def near_copies(thumbnails: np.ndarray) -> list[tuple[int, ...]]:
    """Groups of two or more images that are near copies, by chains, each in rising order.

    Args:
        thumbnails: (N, 320) uint8, see `small_look`; equal ones may occur.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    telling = np.flatnonzero(thumbnails[:, :GREY].std(axis=1) >= FAINT)
    if len(telling) < 2:
        return []
    units = _unit_vectors(thumbnails[telling, :GREY])  # (n, 272) float32
    tree = KDTree(units @ _principal(units))
    found = np.concatenate([*_pairs(tree, units, thumbnails[telling])])  # (pairs, 2)
    size = len(telling)
    graph = coo_array((np.ones(len(found), bool), (found[:, 0], found[:, 1])), shape=(size, size))
    _, number = connected_components(graph, directed=False)
    return _members(telling, number)


def _pairs(tree: Any, units: np.ndarray, thumbnails: np.ndarray) -> Iterator[np.ndarray]:
    """(pairs, 2) of near copies, piece by piece.

    In a crowd, as the frames of a still film are one, whoever is found near another does not look
    around any more: the pairs would grow with the square of it.
    """
    radius = np.sqrt(2 - 2 * CORRELATION) * 1.0001
    around = tree.query_ball_point(tree.data, radius, return_length=True)
    yield np.empty((0, 2), np.int64)
    alone = np.flatnonzero(around <= CROWD)
    for first in range(0, len(alone), CHUNK):
        chunk = alone[first : first + CHUNK]
        near = tree.query_ball_point(tree.data[chunk], radius)
        left = np.repeat(chunk, [len(found) for found in near])
        right = np.concatenate([np.asarray(found, np.int64) for found in near])
        yield _checked(units, thumbnails, left[right != left], right[right != left])
    seen = np.zeros(len(thumbnails), bool)
    for centre in np.flatnonzero(around > CROWD):
        if not seen[centre]:
            right = np.asarray(tree.query_ball_point(tree.data[centre], radius), np.int64)
            found = _checked(units, thumbnails, np.full(len(right), centre), right)
            seen[found[:, 1]] = True
            yield found


def _unit_vectors(thumbnails: np.ndarray) -> np.ndarray:
    """(n, d) float32 of mean 0 and length 1, or 0 if all are equal: products are correlations."""
    centred = thumbnails.astype(np.float32)
    centred -= centred.mean(axis=1, keepdims=True)
    units: np.ndarray = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), TINY)
    return units


def _principal(units: np.ndarray) -> np.ndarray:
    """(272, `COMPONENTS`) orthonormal axes along which the thumbnails differ most."""
    axes: np.ndarray = np.linalg.eigh(units.T @ units)[1]
    return axes[:, -COMPONENTS:]


def _checked(
    units: np.ndarray, thumbnails: np.ndarray, left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """(pairs, 2) of the candidates that are near copies."""
    kept = [np.empty((0, 2), np.int64)]
    for at in range(0, len(left), PIECE):
        a, b = left[at : at + PIECE], right[at : at + PIECE]
        grey = np.einsum("ij,ij->i", units[a], units[b])  # (pairs,)
        a, b, grey = a[grey >= CORRELATION], b[grey >= CORRELATION], grey[grey >= CORRELATION]
        differ = (_hashes(thumbnails[a]) != _hashes(thumbnails[b])).sum(axis=(1, 2))
        colours = [_unit_vectors(thumbnails[side, GREY:]) for side in (a, b)]
        same = np.einsum("ij,ij->i", *colours) >= COLOUR
        near = ((differ <= BITS) | (grey >= ALONE)) & same
        kept.append(np.stack([a[near], b[near]], axis=1))
    return np.concatenate(kept)


def _hashes(thumbnails: np.ndarray) -> np.ndarray:
    """(n, 16, 16) bool."""
    grid = thumbnails[:, :GREY].reshape(-1, ROWS, COLUMNS)
    return grid[:, :, 1:] > grid[:, :, :-1]


def _members(rows: np.ndarray, number: np.ndarray) -> list[tuple[int, ...]]:
    """The rows of each component number that has several, sorted by their first."""
    order = np.argsort(number, kind="stable")
    parts = np.split(rows[order], np.flatnonzero(np.diff(number[order])) + 1)
    return sorted(tuple(part.tolist()) for part in parts if len(part) > 1)


def contents(images: Sequence[tuple[Path, Inspected]], hashed: Hash) -> tuple[str, ...]:
    """Digests (N) that are equal where the pixels are: the file's, or that of its pixels.

    Args:
        images: N that can be decoded.
        hashed: calls `pixel_digest` on each of some paths, in threads.
    """
    alike: dict[tuple[bytes, str], dict[str, Path]] = defaultdict(dict)
    for path, looked in images:
        alike[_look(looked)].setdefault(looked.digest, path)
    doubtful = {
        digest: path
        for files in alike.values()
        if len(files) > 1  # of different bytes
        for digest, path in files.items()
    }
    found: dict[str, str] = {}
    if doubtful:
        found = dict(zip(doubtful, hashed(list(doubtful.values())), strict=True))
    return tuple(found.get(looked.digest, looked.digest) for _, looked in images)


def _look(looked: Inspected) -> tuple[bytes, str]:
    return looked.thumbnail, looked.grey.kind if looked.grey else ""
