"""A study as a Python object: what a notebook shows of it, and its tables, figures and model."""

import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas
import pytest
from matplotlib.figure import Figure
from PIL import Image
from synthetic import write_study

import study
from study.common.errors import UserError
from study.common.text import points
from study.records.study_meta import load_meta, save_meta
from study.records.trials_file import load_trials
from study.report import main as report_main
from study.report.data_files import COLUMNS
from study.report.notebook import Study

ROOT = Path(__file__).parents[1]
STUDIES = ROOT / "tests" / "studies"


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real study with its report."""
    logs = tmp_path_factory.mktemp("logs")
    shutil.copytree(STUDIES / "faces", logs / "finished")
    assert report_main(["--logs", str(logs)]) == 0
    return logs


@pytest.fixture(scope="module")
def found(logs: Path) -> Study:
    return study.load("finished", logs)


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, study; assert study.run and study.load\n"
        "print([name for name in sys.argv[1:] if name in sys.modules])"
    )
    heavy = ["numpy", "tensorflow", "keras", "matplotlib", "pandas", "jinja2", "argparse"]
    ended = subprocess.run(
        [sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert ended.stdout == "[]\n"


def test_a_study_tells_its_answer_and_its_verdicts_as_text(found: Study) -> None:
    document = json.loads((found.folder / "report" / "ranking.json").read_text())
    assert found.headline == document["headline"]
    assert found.answer.leader == document["answer"]["leader"]
    text = repr(found)
    said = [document["headline"], *document["details"], *(s["command"] for s in document["next"])]
    assert all(one in " ".join(text.split()) for one in said)
    for entry in document["ranking"]:
        assert re.search(rf"^{entry['optimizer']} .*{points(entry['mean'])}", text, re.M)
    table = text[text.index("optimizer ") : text.index("next:")]
    assert max(map(len, table.splitlines())) <= 120


@pytest.mark.parametrize("name", ["ranking", "trials"])
def test_the_frames_are_what_the_csv_files_hold(found: Study, name: str) -> None:
    frame = getattr(found, name)
    written = pandas.read_csv(found.folder / "report" / f"{name}.csv", dtype={"number": str})
    assert list(frame.columns) == list(written.columns)
    pandas.testing.assert_frame_equal(
        frame.replace("", None), written, check_dtype=False, check_exact=True
    )


def test_a_run_is_a_row_and_a_hyperparameter_a_column_of_numbers(found: Study) -> None:
    runs = load_trials(found.folder)
    trials = found.trials.set_index("trial_id")
    assert list(trials.index) == [run.trial_id for run in runs]
    assert trials["learning_rate"].dtype == float
    for run in runs:
        for key, value in run.hyperparameters.items():
            assert trials.loc[run.trial_id, key] == value


def test_figures_are_matplotlibs_and_show_themselves(found: Study) -> None:
    drawn = {path.stem for path in (found.folder / "report" / "figures").glob("*.png")}
    assert set(found.figures) == drawn
    figure = found.figures["ranking"]
    assert isinstance(figure, Figure)
    shown = pixels(io.BytesIO(figure._repr_png_()))  # type: ignore[attr-defined]
    in_report = pixels(found.folder / "report" / "figures" / "ranking.png")
    assert np.abs(shown - in_report).mean() < 1  # of 255: the report's has fewer colours


def pixels(source: Path | io.BytesIO) -> np.ndarray:
    with Image.open(source) as image:
        return np.asarray(image.convert("RGB"), float)


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.images: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.images += [value or "" for key, value in attrs if key == "src"]

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def test_a_notebook_shows_headline_figure_and_verdicts(found: Study) -> None:
    page = Page(found._repr_html_())
    assert found.headline in page.texts
    assert f"tensorboard --logdir {found.folder.parent}" in page.texts
    assert len(page.images) == 1 and page.images[0].startswith("data:image/png;base64,")
    rows = found.ranking
    assert page.tags.count("tr") == len(rows) + 1
    assert {*rows["optimizer"], "verdict"} <= set(page.texts)
    assert not {"script", "html", "body", "title"} & set(page.tags)  # a part of another page


def test_hostile_names_stay_text_in_a_notebook(tmp_path: Path) -> None:
    names = ["</style><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7*7 }}"]
    write_study(tmp_path, names, meta={"name": "<b>x"}, repeats=2, trials=6)
    page = Page(study.load(logs=tmp_path)._repr_html_())
    assert {*names, "<b>x"} <= set(page.texts)
    assert page.tags.count("img") == 1 and "script" not in page.tags and "b" not in page.tags


def test_the_newest_study_is_loaded_and_a_missing_one_is_a_sentence(logs: Path) -> None:
    assert study.load(logs=logs).folder == logs / "finished"
    with pytest.raises(UserError, match=r"no study named 'nope' in .*; known: finished"):
        study.load("nope", logs)
    with pytest.raises(UserError, match="no studies in nowhere"):
        study.load(logs="nowhere")


def test_a_study_that_has_just_begun_says_so(tmp_path: Path) -> None:
    write_study(tmp_path, ["adam", "sgd"], records=[], predictions=False)
    begun = study.load(logs=tmp_path)
    sentence = "has no finished runs yet"
    assert sentence in begun.headline and sentence in repr(begun)
    page = Page(begun._repr_html_())
    assert any(sentence in text for text in page.texts) and "img" not in page.tags
    for name in ("answer", "ranking", "figures"):
        with pytest.raises(UserError, match=sentence):
            getattr(begun, name)
    assert list(begun.trials.columns) == list(COLUMNS) and begun.trials.empty
    with pytest.raises(UserError, match="has no winner yet: run the same search to its end"):
        begun.winner()


def test_a_study_that_was_killed_shows_what_it_has(tmp_path: Path) -> None:
    save_meta(tmp_path, replace(load_meta(STUDIES / "faces"), finished=False))
    lines = (STUDIES / "faces" / "trials.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "trials.jsonl").write_bytes(b"".join(lines[:20]) + lines[20][:-9])
    killed = Study(tmp_path)
    assert len(killed.trials) == len(load_trials(killed.folder)) == 20
    page = Page(killed._repr_html_())
    assert killed.headline in page.texts and killed.headline[:60] in repr(killed)


def test_without_pandas_a_sentence_names_the_file_that_holds_the_same(
    found: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match=r"`pip install pandas`, or read .*/report/trials\.csv"):
        _ = found.trials
    with pytest.raises(UserError, match=r"ranking\.csv"):
        _ = found.ranking


def test_a_mistake_is_one_line_in_a_notebook() -> None:
    shown = UserError("`seed`: received 0")._render_traceback_()  # IPython asks for it
    assert shown == ["UserError: `seed`: received 0"]
