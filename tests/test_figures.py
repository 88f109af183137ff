"""Figures: the right ones appear, looks stay the same, hard names and data do not break them."""

import dataclasses
import io
import math
import re
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.colors import to_hex
from matplotlib.text import Text
from PIL import Image
from synthetic import OPTIMIZERS, make_record, write_study

from study.common.plot_look import (
    COLOURS,
    COLOURS_IN_DARK,
    SEQUENTIAL,
    contrast,
    find_fonts,
    ink_on,
    log_label,
    marks,
    new_figure,
    spread_labels,
)
from study.common.text import number, plain, points, points_signed
from study.records.trial_record import Phase, TrialStatus
from study.report.analysis.summary import load_study
from study.report.figures.draw import RANKING, draw_figures, write_figures
from study.report.figures.optimizers import draw_pairs
from study.report.figures.picture import TALL, WIDE
from study.report.figures.svg import DARK, MOST_DOTS, palette, to_svg
from study.report.markdown import markdown_table
from study.report.tables import pairs_table
from study.verdicts.answer import Verdict

EVERY = {
    *("ranking", "confusion", "per_class", "learning_rate", "default_against_tuned", "budget"),
    *("schedules", "dense_width", "time", "importance", "slices", "target", "incumbents"),
}


def drawn(tmp_path, names=None, **settings):
    pictures, warnings = draw_figures(load_study(write_study(tmp_path, names, **settings)))
    for picture in pictures:
        image = Image.open(io.BytesIO(picture.png))
        assert image.format == "PNG" and min(image.size) > 150 and max(image.size) < 3000
        assert picture.title and picture.caption and picture.subtitle
        ends = [text.get_window_extent().x1 for text in picture.figure.texts]
        assert max(ends) <= picture.figure.bbox.x1 + 1
    return {picture.name: picture for picture in pictures}, warnings


@pytest.fixture(scope="module")
def twelve(tmp_path_factory):
    """The figures of twelve optimizers, and warnings."""
    return drawn(tmp_path_factory.mktemp("twelve"), repeats=2, trials=12, confirm=2)


def test_twelve_optimizers_get_a_panel_each(twelve):
    pictures, warnings = twelve
    assert set(pictures) == EVERY | {"curves_accuracy", "curves_loss"}  # too few repeats for pairs
    assert warnings == []


def test_marks_of_a_page_say_their_optimizer_and_value(twelve):
    tables = {"schedules", "dense_width", "importance"}  # their numbers stand in the cells
    for name, picture in twelve[0].items():
        root = ElementTree.fromstring(picture.svg)
        titles = [title.text for title in root.iter("title")]
        assert all(re.fullmatch(r".+: (diverged|.*\d.*)", text) for text in titles)
        assert bool(titles) == (name not in tables)
        if name == "learning_rate":
            assert len(titles) == len(list(root.iter("use"))) > 200


def test_every_text_of_a_figure_is_readable_on_white(twelve):
    for picture in twelve[0].values():
        colours = {to_hex(text.get_color()) for text in picture.figure.findobj(Text)}
        assert all(contrast(colour, "white") >= 4.5 for colour in colours - {"#ffffff"})


def test_the_legend_of_the_slices_takes_the_rows_that_it_needs(twelve):
    figure = twelve[0]["slices"].figure
    (legend,) = figure.legends
    assert legend.get_window_extent().x1 <= figure.bbox.x1
    assert len(legend.get_texts()) == len(OPTIMIZERS)


def test_a_matplotlibrc_of_the_user_changes_no_figure(tmp_path):
    about = load_study(write_study(tmp_path, ["adam", "sgd"], repeats=1, trials=6))
    plainly = [picture.png for picture in draw_figures(about)[0]]
    foreign = {"text.usetex": True, "image.cmap": "jet", "axes.facecolor": "red"}
    with mpl.rc_context(foreign | {"lines.marker": "x", "legend.loc": "center"}):
        assert [picture.png for picture in draw_figures(about)[0]] == plainly


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """The figures of five repeats of two optimizers."""
    return drawn(tmp_path_factory.mktemp("five"), ["adam", "sgd"], repeats=5, trials=6)[0]


def test_two_optimizers_share_the_two_panels_of_the_post(five):
    assert set(five) == EVERY | {"curves"}


def test_a_band_and_its_markers_stay_inside_their_panel(twelve):
    figure = twelve[0]["curves_accuracy"].figure
    (axis,) = figure.axes
    panels = [one.get_clip_box().extents for one in axis.collections]
    assert len(panels) == len(OPTIMIZERS)  # a band each
    corners = axis.transData.inverted().transform(np.reshape(panels, (-1, 2)))
    assert corners[:, 0].max() < axis.get_xlim()[1] and corners[:, 1].min() > 0
    assert np.allclose(corners[1::2] - corners[::2], (WIDE, TALL))
    marked = [line for line in axis.lines if line.get_marker() != "None"]
    lows, highs = corners[::2], corners[1::2]
    for x, y in np.concatenate([line.get_xydata() for line in marked]):
        if not np.isnan(y):
            here = np.array([x, y])
            inside = (lows - 1e-6 <= here) & (here <= highs + 1e-6)
            assert inside.all(axis=1).any()


def test_the_axis_of_a_slice_is_that_of_the_search_space(five):
    figure = five["slices"].figure
    texts = [text.get_text() for text in figure.axes[0].texts]
    dropout = texts[texts.index("dropout") :]
    assert dropout[1:] == texts[1:] and "0" in texts and "0.6" in texts and "0.01" not in texts


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """The summary of three optimizers, one of them certainly behind."""
    folder = tmp_path_factory.mktemp("three")
    return load_study(write_study(folder, ["lion", "adam", "nadam"], repeats=5, trials=24))


def test_a_gap_is_marked_where_it_was_measured_also_ahead_of_the_leader(three):
    answer = three.answer
    ahead = [
        one if one.optimizer == answer.leader else one._replace(behind=-0.003)
        for one in answer.optimizers
    ]
    found = three._replace(answer=answer._replace(optimizers=tuple(ahead)))
    ((picture,), _) = draw_figures(found, RANKING)
    (axis,) = picture.figure.axes
    dots = [line for line in axis.lines if line.get_marker() != "None"]
    assert sorted(line.get_xdata()[0] for line in dots) == [-0.003, -0.003, 0.0]
    assert axis.get_xlim()[0] < -0.003


def test_the_matrix_of_pairs_colours_those_that_are_separated(three):
    ((picture,), _) = draw_figures(three, [draw_pairs])
    (axis,) = picture.figure.axes
    order = [row.optimizer for row in three.rows]
    assert [label.get_text() for label in axis.get_yticklabels()] == order
    assert [label.get_text() for label in axis.get_xticklabels()] == order
    cells = {text.get_position(): text.get_text() for text in axis.texts}
    assert len(cells) == 6
    separated = 0
    for pair in three.pairs:
        first, second = order.index(pair.first), order.index(pair.second)
        assert cells[second, first] == points(pair.difference)
        assert cells[first, second] == points(-pair.difference)
        separated += pair.separated
    coloured = [cell for cell in axis.patches if cell.get_facecolor()[3] > 0.1]
    assert len(axis.patches) == 6 and len(coloured) == 2 * separated > 0
    assert len(pairs_table(three).rows) == separated < 3
    framed = sum(patch.get_linewidth() > 0 for patch in axis.patches)
    assert framed == 2 * sum(pair.carries_over for pair in three.pairs)


def test_without_a_separated_pair_a_sentence_stands_for_the_matrix(three):
    pairs = tuple(pair._replace(separated=False) for pair in three.pairs)
    found = three._replace(pairs=pairs)
    assert draw_figures(found, [draw_pairs])[0] == []
    table = pairs_table(found)
    assert table.rows == () and table.note.startswith("No pair is separated when all 3 are")
    assert markdown_table(table) == ["## Separated pairs", table.note]


def test_a_caption_explains_the_verdicts_that_occur(three):
    ((picture,), _) = draw_figures(three, RANKING)
    occurring = {one.verdict.value for one in three.answer.optimizers}
    every = {verdict.value for verdict in Verdict}
    assert {word for word in every if word in picture.caption} == occurring < every


def test_the_classes_of_the_confusion_are_in_the_order_of_their_numbers(tmp_path):
    classes = ["s10", "s2", "a", "s1", "S03"]
    pictures, _ = drawn(tmp_path, ["adam"], classes=classes, repeats=2, trials=6)
    axis = pictures["confusion"].figure.axes[0]
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert labels == ["a", "s1", "s2", "S03", "s10"]
    counts = load_study(tmp_path / "faces-hyperband").confusion.counts
    right = {text.get_position(): text.get_text() for text in axis.texts}
    assert all(right[k, k] == str(counts[i, i]) for k, i in enumerate([2, 3, 1, 4, 0]))
    assert "This is one run; the mean accuracy of all 10 is" in pictures["confusion"].caption


def test_one_number_is_rounded_the_same_way_however_it_was_summed():
    low, high = 0.8925 - 1e-15, 0.8925 + 1e-15
    assert points(low) == points(high) == "89.3" and points(-low) == "-89.3"
    assert points(-0.0) == "0.0" and points_signed(-0.00251) == "-0.3"
    assert points_signed(0.0205) == "+2.1" and points(math.nan) == "nan"
    near = [0.99971234, 0.9998, 0.99, 0.9849, 1.0, 0.999]
    assert [number(v, 3) for v in near] == ["0.999712", "0.9998", "0.99", "0.985", "1", "0.999"]


def test_too_few_repeats_promise_no_verdict(tmp_path, five):
    few, _ = drawn(tmp_path, ["adam", "sgd"], repeats=4, trials=6)
    assert "good enough" not in few["ranking"].caption
    assert "The order means nothing yet" in few["ranking"].caption
    assert "good enough" in five["ranking"].caption


def test_a_study_without_search_or_predictions_gets_the_figures_it_has_data_for(tmp_path):
    rng = np.random.default_rng(1)
    records = [make_record(rng, "adam", Phase.CONFIRM, trial_id="adam/0/confirm-0", confirm=0)]
    pictures, _ = drawn(tmp_path, ["adam"], records=records, predictions=False, confirm=1)
    assert set(pictures) == {"ranking", "curves", "time", "target"}


@pytest.mark.parametrize("epochs", [0, 1])
def test_diverged_nan_and_empty_runs_are_drawn_without_a_warning(tmp_path, epochs):
    rng = np.random.default_rng(1)
    records = [
        make_record(
            rng,
            name,
            phase,
            trial_id=f"{name}/{i}/{phase}-{i}",
            repeat=i,
            epochs=1,
            status=TrialStatus.DIVERGED,
            confirm=i,
        )
        for name in ("adam", "sgd", "lion", "nadam")
        for phase in Phase
        for i in range(5)
    ]
    curve = [math.nan] * epochs
    records = [
        dataclasses.replace(
            r,
            loss=curve,
            accuracy=curve,
            val_loss=curve,
            val_accuracy=curve,
            learning_rate=curve,
            best_epoch=epochs,
        )
        for r in records
    ]
    pictures, _ = drawn(tmp_path, ["adam", "sgd", "lion", "nadam"], records=records)
    assert "ranking" in pictures


def test_one_epoch_and_one_class_pair_are_drawn(tmp_path):
    pictures, _ = drawn(tmp_path, ["adam"], max_epochs=1, classes=["a", "b"], repeats=1)
    assert "curves" in pictures and "confusion" in pictures


def test_names_are_never_read_as_formulas(tmp_path):
    names = ["$\\frac{$", "_hidden", "a" * 90]
    classes = ["$x^2$", "\\alpha", "under_score", "a\nb\x00", "%s {}", "_"]
    pictures, warnings = drawn(tmp_path, names, classes=classes, repeats=1)
    assert "confusion" in pictures and warnings == []


def test_two_hundred_classes_stay_in_a_figure_of_sensible_size(tmp_path):
    drawn(tmp_path, ["adam"], classes=[f"class number {i}" for i in range(200)], repeats=1)


def test_a_missing_script_is_named_once_and_never_drawn_as_boxes(tmp_path):
    letter = "\U00012000"  # a cuneiform sign; if a font here has it, there is nothing to test
    if not find_fonts([letter]).missing:
        pytest.skip("a font with cuneiform is installed")
    # Warnings are errors here, so a box (matplotlib's missing-glyph warning) would fail this.
    _, warnings = drawn(tmp_path, ["adam", letter], classes=[letter, "b"], repeats=1)
    assert len(warnings) == 1
    assert letter in warnings[0] and "Noto Sans CJK" in warnings[0]


def test_a_font_is_found_by_the_characters_it_has(tmp_path):
    letter = "\U00012001"
    if not find_fonts([letter]).missing:
        pytest.skip("a font with cuneiform is installed")
    manager = font_manager.fontManager
    before = list(manager.ttflist)
    manager.addfont(make_font(tmp_path / "tiny.ttf", "Tiny Cuneiform", letter))
    try:
        fonts = find_fonts(["abc", letter])
        assert fonts.families == ("DejaVu Sans", "Tiny Cuneiform") and fonts.missing == ""
        _, warnings = drawn(tmp_path, ["adam"], classes=[letter, "b"], repeats=1)
        assert warnings == []
    finally:
        manager.ttflist[:] = before


def make_font(path, family, letter):
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 700), (500, 700), (500, 0)):
        pen.lineTo(corner)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "sign"])
    builder.setupCharacterMap({ord(letter): "sign"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "sign": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (500, 0), "sign": (600, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return str(path)


def test_lines_are_as_readable_as_their_names_and_of_one_colour_with_them():
    for colours, ground in ((COLOURS, "white"), (COLOURS_IN_DARK, DARK)):
        assert len(set(colours)) == 12
        assert min(contrast(colour, ground) for colour in colours) >= 4.5
    light, dark = palette(f"var(--m{COLOURS[0][1:]})var(--t{COLOURS[0][1:]})").split("@media")
    assert light.count(COLOURS[0]) == 2 and dark.count(COLOURS_IN_DARK[0]) == 2


def test_an_optimizer_keeps_its_look_whichever_others_finished():
    fonts = find_fonts([])
    every = marks(OPTIMIZERS, fonts)
    assert len({(look.colour, look.marker) for look in every.values()}) == 12
    assert marks([*OPTIMIZERS, "adam", "sgd"], fonts) == every
    many = marks([f"o{i}" for i in range(30)], fonts)
    assert len({(look.colour, look.marker) for look in many.values()}) == 30


def test_a_figure_of_very_many_dots_is_an_image_inside_its_svg():
    for dots, tags in ((100, ("use", 100, "image", 0)), (MOST_DOTS + 1, ("use", 0, "image", 1))):
        figure = new_figure(6, 4, "Dots", "left to the page, whose text wraps")
        axis = figure.subplots()
        axis.set_title("<Dots> & more")
        axis.plot(np.linspace(0, 1, dots), np.zeros(dots), "o", color="#0072b2")
        axis.set_axis_off()
        svg = to_svg(figure, "dots")
        root = ElementTree.fromstring(svg)  # well-formed
        names = [element.tag for element in root.iter()]
        assert (tags[0], names.count("use"), tags[2], names.count("image")) == tags
        assert "<Dots> & more" in root.itertext() and len(svg) < 30_000
        assert not {text.get_text() for text in figure.texts} & set(root.itertext())


@pytest.mark.parametrize("colours", [SEQUENTIAL, "Blues"])
def test_text_on_a_coloured_cell_is_readable(colours):
    for colour in mpl.colormaps[colours](np.linspace(0, 1, 64)):
        assert contrast(ink_on(tuple(colour)), tuple(colour)) > 4.5


def test_figures_of_an_earlier_report_are_removed(tmp_path):
    (tmp_path / "old.png").write_bytes(b"")
    write_figures([], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_labels_are_moved_apart_and_stay_inside():
    places = spread_labels([0.9, 0.1, 0.9, 0.91], 0.05, 0.0, 1.0)
    ordered = sorted(places)
    assert min(np.diff(ordered)) >= 0.049 and ordered[0] >= 0 and ordered[-1] <= 1
    assert np.argsort(places, kind="stable").tolist() == [1, 0, 2, 3]


def test_long_names_keep_their_ends():
    assert plain("a" * 40 + "7", 10) == "aaaaaa…aa7"
    assert plain("a\nb" + "c" * 40, 10) == "a\\nbcc…ccc"


def test_ticks_of_a_logarithmic_axis_are_plain_text():
    assert [log_label(10.0**k) for k in (-6, -3, -2, 0, 1)] == ["1e-6", "1e-3", "0.01", "1", "10"]
