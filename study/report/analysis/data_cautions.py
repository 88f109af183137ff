"""Warnings about the images or rows, from what the search found doubtful."""

from collections.abc import Iterator
from typing import NamedTuple

from study.common.text import counted, first_few, join
from study.records.study_meta import StudyMeta

NAMED, REASONS = 3, 5  # images and reasons in one sentence


class Caution(NamedTuple):
    """A warning: `kind` for programs, `text` for people."""

    kind: str
    text: str


def data_cautions(meta: StudyMeta) -> Iterator[Caution]:
    """Yield a warning on everything that was doubtful; many concern images only."""
    yield from _left_out(meta)
    yield from _in_several_classes(meta)
    for text in meta.data.get("doubts", []):
        yield Caution("names and numbers", f"{text[:1].upper()}{text[1:]}.")
    if flat := meta.data.get("flat", []):
        yield Caution(
            "flat images",
            f"{_images(flat)} one flat colour ({first_few(flat, NAMED)}), so there is nothing to "
            "see: transparency is shown on white, so check whether the motif is white.",
        )
    if dark := meta.data.get("dark", []):
        yield Caution(
            "dark images",
            f"{_images(dark)} nearly black ({first_few(dark, NAMED)}). Label masks look like this, "
            "and so do 16-bit colour images that use only 12 of their bits. Save these as 8-bit "
            "images that range from black to white.",
        )
    yield from _near_copies(meta)
    if inside := meta.data.get("subfolders", []):
        yield Caution(
            "subfolders",
            f"Every class has folders inside ({join(inside)}). If each of these is one subject or "
            "scene, its images end up in several parts of a split, which makes every score too "
            "high: search again with --group subfolder and another --name.",
        )
    if constant := meta.data.get("constant", []):
        never = "Column {} of {} (from 0) never varies, so it carries no information."
        if len(constant) > 1:
            never = "Columns {} of {} (from 0) never vary, so they carry no information."
        columns = first_few(map(str, constant), NAMED)
        yield Caution("constant columns", never.format(columns, int(meta.data["features"])))
    for text in meta.data.get("base_doubts", []):
        yield Caution("base", f"{text[:1].upper()}{text[1:]}.")
    for text in meta.data["split_warnings"]:
        yield Caution("split", f"{text}.")
    for text in meta.data.get("shortcuts", []):
        yield Caution("shortcut", f"{text[:1].upper()}{text[1:]}.")
    for text in meta.data.get("deep_grey", {}).get("doubts", []):
        yield Caution("deep grey", f"{text[:1].upper()}{text[1:]}.")


def _images(names: list[str]) -> str:
    return "1 image is" if len(names) == 1 else f"{len(names)} images are"


def _left_out(meta: StudyMeta) -> Iterator[Caution]:
    number = len(meta.data.get("left_out", []))
    if not number:
        return
    reasons = sorted(meta.data["left_out_reasons"].items(), key=lambda item: -item[1])
    texts = [
        f"{'one' if count == 1 else f'each of {count}'} {reason}"
        for reason, count in reasons[:REASONS]
    ]
    if others := sum(count for _, count in reasons[REASONS:]):
        texts.append(f"{others} for other reasons")
    things = "1 file or folder was" if number == 1 else f"{number} files or folders were"
    lists = "it" if number == 1 else "each"
    yield Caution("left out", f"{things} left out: {'; '.join(texts)}. study.json lists {lists}.")


def _in_several_classes(meta: StudyMeta) -> Iterator[Caution]:
    groups = meta.data["in_several_classes"]
    if not groups:
        return
    done = "a stratified split only trains on them, but for those of a test set that was given"
    if meta.one_split:
        done = "this split trains on them and judges them like any other"
    yield Caution(
        "in several classes",
        f"{sum(map(len, groups))} {meta.noun}s have the same content as one of another class "
        f"({counted(len(groups), 'group')}, such as {join(groups[0][:NAMED])}), so it is unknown "
        f"which class is right: {done}.",
    )


def _near_copies(meta: StudyMeta) -> Iterator[Caution]:
    groups = meta.data.get("near_copies", [])
    if not groups:
        return
    done = "a stratified split keeps each group in one part"
    if meta.one_split:
        done = "this split may have them in several parts"
    yield Caution(
        "near copies",
        f"{sum(map(len, groups))} images are near-duplicates of another one "
        f"({counted(len(groups), 'group')}, such as {first_few(groups[0], NAMED)}): {done}.",
    )
