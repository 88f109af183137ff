"""What was doubtful about the images or rows, as the search found it, in words: (kind, text)."""

from collections.abc import Iterator, Sequence

from study.common.text import counted, first_few, join
from study.records.study_meta import StudyMeta

NAMED, REASONS = 3, 5  # images and reasons in one sentence


def image_cautions(meta: StudyMeta) -> Iterator[tuple[str, str]]:
    """All that was doubtful; a study of rows says less than one of images."""
    yield from _left_out(meta)
    yield from _in_several_classes(meta)
    flat = meta.data.get("flat", [])
    if flat:
        number = "1 image is" if len(flat) == 1 else f"{len(flat)} images are"
        yield (
            "flat images",
            f"{number} one flat colour ({first_few(flat, NAMED)}), so there is nothing to see: "
            "what lies on transparency is laid on white, look whether it is white itself.",
        )
    if dark := meta.data.get("dark", []):
        number = "1 image is" if len(dark) == 1 else f"{len(dark)} images are"
        yield (
            "dark images",
            f"{number} nearly black ({first_few(dark, NAMED)}): label masks are, and 16-bit colour "
            "of which 12 bits are used only. Save such with 8 bits that reach from black to white.",
        )
    yield from _near_copies(meta)
    if inside := meta.data.get("subfolders", []):
        yield (
            "subfolders",
            f"Every class has folders inside ({join(inside)}). If each is one subject or scene, "
            "its images stand on several sides of the splits, and what is measured is too high: "
            "search once more with --group subfolder and another --name.",
        )
    if constant := meta.data.get("constant", []):
        yield "constant columns", _constant(constant, int(meta.data["features"]))
    for text in meta.data["split_warnings"]:
        yield "split", f"{text}."
    for text in meta.data.get("shortcuts", []):
        yield "shortcut", f"{text[:1].upper()}{text[1:]}."
    for text in meta.data.get("deep_grey", {}).get("doubts", []):
        yield "deep grey", f"{text[:1].upper()}{text[1:]}."


def _near_copies(meta: StudyMeta) -> Iterator[tuple[str, str]]:
    groups = meta.data.get("near_copies", [])
    if not groups:
        return
    done = "none stands on several sides of a stratified split"
    if meta.one_split:
        done = "this split may have them on several sides"
    yield (
        "near copies",
        f"{sum(map(len, groups))} images are nearly the same as another one "
        f"({counted(len(groups), 'group')}, such as {first_few(groups[0], NAMED)}): {done}.",
    )


def _constant(columns: Sequence[int], width: int) -> str:
    what = "Column" if len(columns) == 1 else "Columns"
    never = "never varies, so it tells" if len(columns) == 1 else "never vary, so they tell"
    return f"{what} {first_few(map(str, columns), NAMED)} of {width} (from 0) {never} nothing."


def _left_out(meta: StudyMeta) -> Iterator[tuple[str, str]]:
    number = len(meta.data.get("left_out", []))
    if not number:
        return
    reasons = sorted(meta.data["left_out_reasons"].items(), key=lambda item: -item[1])
    parts = [
        f"{'one' if count == 1 else f'each of {count}'} {reason}"
        for reason, count in reasons[:REASONS]
    ]
    if others := sum(count for _, count in reasons[REASONS:]):
        parts.append(f"{others} for other reasons")
    things = "1 file or folder was" if number == 1 else f"{number} files or folders were"
    named = "it" if number == 1 else "each"
    yield "left out", f"{things} left out: {'; '.join(parts)}. study.json names {named}."


def _in_several_classes(meta: StudyMeta) -> Iterator[tuple[str, str]]:
    groups = meta.data["in_several_classes"]
    if not groups:
        return
    done = "they are trained on and never judged, so the other parts are smaller"
    if meta.settings["split"] == "keras":
        done = "Keras's split trains on them and judges by them like any other"
    yield (
        "in several classes",
        f"{sum(map(len, groups))} {meta.noun}s have the same content as one of another class "
        f"({counted(len(groups), 'group')}, such as {join(groups[0][:NAMED])}), and nobody can "
        f"tell which class is right: {done}.",
    )
