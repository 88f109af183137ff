"""Images as the subject of a study: a frozen base turns each image into a row.

Options come in; checked images, their rows, the winner's whole model and pictures of its mistakes
go out. Such a picture is a pair: a held-out image, and a training image of the class that it was
mistaken for. Only a few are kept, below `best/`, so the report needs neither images nor TensorFlow.
"""

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
from jaxtyping import Float32, Int32
from PIL import Image

from study.common.bases import BaseChoice, short_name
from study.common.errors import UserError
from study.common.files import write_atomically
from study.common.freed_memory import give_back
from study.common.text import counted, printable
from study.data.doubts import doubts, mixed_grey, name_doubts, subfolders_of_all
from study.data.image_set import ImageSet
from study.data.load_images import load_images
from study.data.overview import classes_line, sample_grid, white_points
from study.data.pixels.decoding import decode
from study.data.pixels.deep_grey import Scales
from study.data.shortcuts import shortcuts
from study.features.backbone import Backbone, in_float32
from study.features.extract import extract_features, time_needed
from study.machines.machines import Machines
from study.records.predictions import MISTAKE_SIDE, Predictions, worst_mistakes
from study.records.study_files import MISTAKES_FOLDER
from study.search.expected_time import in_words
from study.search.options import Options
from study.search.subject import Subject
from study.training.head import whole_model


class ImageSubject(Subject):
    """A folder of images, or the built-in faces."""

    examples: ImageSet

    def __init__(self, options: Options, machines: Machines) -> None:
        """Inspect every image; for errors see `load_images`."""
        self._options, self._machines = options, machines
        self._digest: str | None = None  # of the weights that computed the rows
        self.examples = load_images(
            options.data,
            labels=options.labels,
            group=options.group,
            group_pattern=options.group_pattern,
            near_duplicates=options.near_duplicates,
            follow_links=options.follow_links,
            strict=options.strict,
            map_files=machines.map_files,
        )
        images = self.examples
        ignored = f", {counted(images.ignored, 'other file')} ignored" if images.ignored else ""
        count = f"images: {len(images.paths)} in {len(images.class_names)} classes{ignored}"
        self.heading = [count, classes_line(images)]
        self.remarks = [*images.notes, *white_points(images), *doubts(images)]

    @cached_property
    def backbone(self) -> Backbone:
        """Frozen base, loaded at its first use; for errors see `load_backbone`."""
        return self._machines.backbone(base_choice(self._options))

    @property
    def device(self) -> Mapping[str, str]:
        """Kind and name of the device, and the dtype in which the base computes."""
        return {**self.backbone.device._asdict(), "dtype": self.backbone.dtype}

    @property
    def weights(self) -> Mapping[str, str]:
        """Source and digest of the weights of the base."""
        return {"source": self.backbone.source, "digest": self.backbone.digest}

    @property
    def base(self) -> str:
        """The base, its dtype and its weights in words."""
        name = short_name(self.backbone.base)
        return f"{name} in {self.backbone.dtype}, weights: {self.backbone.source}"

    @property
    def n_features(self) -> int:
        """Length of a row."""
        return self.backbone.width

    def facts(self) -> dict[str, Any]:
        """Return the facts for `StudyMeta.data`, except those about the splits."""
        images, data = self.examples, self._options.data
        given = data or self._options.labels
        return {
            "folder": "built-in faces" if given is None else Path(given).name or images.source.name,
            "images": len(images.paths),
            "features": self.n_features,
            "left_out": [str(problem) for problem in images.problems],
            "left_out_reasons": dict(Counter(problem.reason for problem in images.problems)),
            "in_several_classes": [self._within(group) for group in images.duplicates],
            "doubts": name_doubts(images),
            "flat": self._within(images.flat),
            "dark": self._within(images.dark),
            "shortcuts": shortcuts(images),
            "deep_grey": {
                "white_points": {
                    kind: {**scale._asdict(), "images": images.deep_kinds[kind]}
                    for kind, scale in images.scales.items()
                },
                "doubts": mixed_grey(images),
            },
            "same_pixels": images.same_pixels,
            "near_copies": [
                self._within(images.paths[row] for row in rows) for rows in images.near
            ],
            "subfolders": [] if any(images.groups) else subfolders_of_all(images),
            **({"averaged_map": True} if self.backbone.from_map else {}),
            "base_doubts": list(self.backbone.doubts),
        }

    def _within(self, paths: Iterable[Path]) -> list[str]:
        root = self.examples.root
        return [printable(path.relative_to(root).as_posix()) for path in paths]

    def features(self, views: Int32[np.ndarray, "N V"] | None = None) -> Float32[np.ndarray, "R d"]:
        """Return the rows and unload the base; print how many had to be computed."""
        images, backbone, base = self.examples, self.backbone, base_choice(self._options)
        found = extract_features(
            images,
            backbone,
            cache_dir=self._options.cache_dir,
            views=views,
            rows_of=self._machines.rows_of(base, backbone, images.scales),
        )
        self._digest = backbone.digest
        del backbone, self.backbone  # its 100 MB and more are free for the heads
        give_back(cycles=True)
        words = f"nothing had to be computed, all {found.cached} are in the cache"
        if found.computed:
            rate = found.computed / max(found.seconds, 1e-9)
            words = f"{found.computed} images computed in {found.seconds:.0f} s "
            words += f"({rate:.1f} images/s), {found.cached} from the cache"
        print(f"features: {words}")
        return found.features

    def time_words(self, views: Int32[np.ndarray, "N V"] | None = None) -> str:
        """Return how many rows have to be computed, and how long that takes here."""
        cache = self._options.cache_dir
        count, seconds = time_needed(self.examples, self.backbone, cache_dir=cache, views=views)
        if not count:
            return "features: all are in the cache"
        return f"features: {counted(count, 'row')} to compute, about {in_words(seconds)} here"

    def samples(self, rows: Int32[np.ndarray, " n"], *, seed: int) -> bytes:
        """Draw some of the images `rows` with their classes, as a PNG."""
        return sample_grid(self.examples, rows, seed=seed)

    def whole(self, head: keras.Model) -> keras.Model:
        """Return base and head as one model, from pixels to probabilities.

        Raises:
            UserError: the weights of the base are not those that computed the rows.
        """
        if self._digest not in (None, self.backbone.digest):
            raise UserError(
                f"the weights of the base ({self.backbone.source}) have changed while the study "
                "ran: restore the original weights, then run the same search again to write the "
                "winner"
            )
        return whole_model(in_float32(self.backbone), head)

    def show_mistakes(
        self, study: Path, train: Int32[np.ndarray, " n"], table: Predictions
    ) -> None:
        """Write each mistaken image beside a training image of the predicted class."""
        images = self.examples
        classes, first = np.unique(images.labels[train], return_index=True)
        examples = {
            int(label): images.paths[train[at]] for label, at in zip(classes, first, strict=True)
        }
        paths = [images.root / path for path in table.paths]
        write_mistakes(study, table, paths, examples, images.scales)


def write_mistakes(
    study: Path,
    table: Predictions,
    paths: Sequence[Path],
    examples: Mapping[int, Path],
    scales: Scales,
) -> None:
    """Write a PNG for each of the worst mistakes in `table`; delete those of an earlier winner.

    `table` lists the images `paths`, and `examples` has a training image of each class.
    """
    folder = study / MISTAKES_FOLDER
    for old in folder.glob("*.png"):
        old.unlink()
    for number, place in enumerate(worst_mistakes(table)):
        try:
            shown = decode(paths[place], MISTAKE_SIDE, scales)
            example = decode(examples[table.predictions[place]], MISTAKE_SIDE, scales)
        except (UserError, KeyError):  # an image that was lost meanwhile costs only its picture
            continue
        buffer = io.BytesIO()
        Image.fromarray(np.hstack([shown, example])).save(buffer, format="PNG")
        write_atomically(folder / f"{number:02d}.png", buffer.getvalue())


def base_choice(options: Options) -> BaseChoice:
    """Return the base of a study with these options."""
    return BaseChoice(options.weights, options.base, options.image_size, options.preprocess)
