"""The command: what it prints, writes and refuses, without TensorFlow and quickly."""

import base64
import csv
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from dataclasses import replace
from fnmatch import fnmatch
from html.parser import HTMLParser
from math import isnan
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from rich.console import Console
from synthetic import write_study

from study.records.study_meta import load_meta
from study.records.trials_file import load_trials, rewrite_trials
from study.report import main
from study.report.analysis.summary import load_study
from study.report.data_files import ranking_rows
from study.report.html import TEMPLATES, render
from study.report.tables import Table, standings, verdict_table
from study.report.terminal import grid_of

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    logs = tmp_path_factory.mktemp("logs")
    write_study(logs, ["sgd", "adam", "lion"], repeats=5, trials=9)
    return logs


@pytest.fixture(scope="module")
def report(logs):
    assert main(["--logs", str(logs)]) == 0
    return logs / "faces-hyperband" / "report"


def test_the_report_writes_every_file_and_prints_the_conclusion(logs, capsys):
    assert main(["--logs", str(logs)]) == 0
    out = capsys.readouterr().out
    report = logs / "faces-hyperband" / "report"
    assert {p.name for p in report.iterdir()} == {
        *("report.html", "report.md", "ranking.csv", "ranking.json", "trials.csv", "figures")
    }
    document = json.loads((report / "ranking.json").read_text())
    assert " ".join(document["headline"].split()) in " ".join(out.split())
    assert [step["command"] for step in document["next"]] == [
        line.strip() for line in out[out.index("next:") :].splitlines() if line.startswith("    ")
    ]
    assert "report.html" in out and "optimizer" in out


def test_ranking_json_and_csv_hold_the_same_numbers(report):
    document = json.loads((report / "ranking.json").read_text(), parse_constant=pytest.fail)
    assert document["format"] == 2
    names = [entry["optimizer"] for entry in document["ranking"]]
    assert sorted(names) == ["adam", "lion", "sgd"]
    assert set(document["ranking"][0]["hyperparameters"]) >= {"learning_rate", "dense_width"}
    assert len(document["pairs"]) == 3
    answer = document["answer"]
    assert set(answer) == {
        *("asked", "known", "margin", "leader", "good_enough", "excluded", "undecided"),
        *("no_verdict", "not_pursued", "looks", "reason", "reached"),
    }
    assert answer["leader"] == names[0] and answer["margin"] == 0.02
    said = [*answer["good_enough"], *answer["excluded"], *answer["undecided"]]
    said += answer["not_pursued"] + answer["no_verdict"]
    assert sorted(said) == sorted(names) and answer["asked"] == []
    assert answer["known"] == bool(answer["good_enough"])
    assert [look["repeats"] for look in answer["looks"]] == [5, 8, 12, 18, 27]
    assert [look["reached"] for look in answer["looks"]] == [True, *[False] * 4]
    for entry in document["ranking"]:
        assert entry["optimizer"] in answer[entry["verdict"].replace(" ", "_")]
        assert entry["reruns"] == 25 and entry["reruns_diverged"] == 0
        bounds = entry["at_most_behind"], entry["at_most_behind_new_images"]
        assert bounds[1] is None or bounds[1] >= bounds[0] >= 0
    with (report / "ranking.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["optimizer"] for row in rows] == names
    assert [float(row["mean"]) for row in rows] == [e["mean"] for e in document["ranking"]]
    for key in ("verdict", "excluded_by"):
        assert [row[key] for row in rows] == [entry[key] for entry in document["ranking"]]
    assert [row["at_most_behind"] for row in rows] == [
        "" if entry["at_most_behind"] is None else str(entry["at_most_behind"])
        for entry in document["ranking"]
    ]


def test_after_one_repeat_there_is_no_verdict_in_any_place(tmp_path):
    folder = write_study(tmp_path, ["sgd", "adam"], repeats=1, trials=6)
    summary = load_study(folder)
    assert {row[1] for row in verdict_table(summary).rows} == {"no verdict"}
    assert {row["verdict"] for row in ranking_rows(summary)} == {"no verdict"}
    found = standings(load_meta(folder), load_trials(folder)).values()
    assert {(type(one.verdict), one.verdict) for one in found} == {(str, "no verdict")}
    assert all("no verdict" in text for text in summary.citation if "Verdicts" in text)


def test_trials_csv_has_a_line_a_run_and_a_column_a_hyperparameter(report):
    runs = {run.trial_id: run for run in load_trials(report.parent)}
    with (report / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial_id"] for row in rows] == list(runs)
    assert {row["phase"] for row in rows} == {run.phase for run in runs.values()}
    own = {key for run in runs.values() for key in run.hyperparameters}
    assert {"beta_1", "learning_rate", "schedule", "dense_width"} <= own <= set(rows[0])
    for row in rows:
        run = runs[row["trial_id"]]
        assert {key: row[key] for key in own} == {
            key: str(run.hyperparameters.get(key, "")) for key in own
        }
        assert float(row["val_accuracy"]) == run.best_value
        assert row["last_val_loss"] == ("" if isnan(run.val_loss[-1]) else str(run.val_loss[-1]))
        assert row["test_accuracy"] == str("" if run.test_accuracy is None else run.test_accuracy)


def test_no_spreadsheet_computes_a_name(tmp_path):
    names = ["=1+1", "@sum(a1)", "-adam", 'a "b", c']
    folder = write_study(tmp_path, names, repeats=2, trials=6)
    runs = load_trials(folder)
    odd = replace(runs[0], hyperparameters={**runs[0].hyperparameters, "=x": -1, "epochs": 9})
    rewrite_trials(folder, [odd, *runs[1:]])
    assert main(["--logs", str(tmp_path)]) == 0
    for name in ("ranking", "trials"):
        with (folder / "report" / f"{name}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        shown = {row["optimizer"] for row in rows}
        assert shown == {"'=1+1", "'@sum(a1)", "'-adam", 'a "b", c'}
    assert rows[0]["'=x"] == "-1"  # a number stays one
    assert rows[0]["epochs"] == str(odd.epochs) and rows[0]["hyperparameter_epochs"] == "9"


def test_the_markdown_shows_the_figures_it_names(report):
    text = (report / "report.md").read_text()
    named = re.findall(r"\]\((figures/[a-z_]+\.png)\)", text)
    assert {"figures/ranking.png", "figures/curves.png"} <= set(named)
    assert all((report / name).is_file() for name in named)
    widths = [line.count("|") for line in text.splitlines() if line.startswith("| optimizer")]
    assert widths and "## Typical hyperparameters of the winners" in text


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.links, self.scripts, self.texts, self.inside = [], [], [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.inside = tag
        self.links += [value for key, value in attrs if key in ("src", "href", "onerror")]

    def handle_data(self, data):
        self.texts.append(data)
        if self.inside == "script":
            self.scripts.append(data)

    def handle_endtag(self, tag):
        self.inside = ""


def test_the_page_is_one_file_and_hostile_names_stay_text(tmp_path):
    evil = "<script>alert(1)</script>"
    names = ["adam", '"><img src=x onerror=alert(1)>']
    classes = [evil, "a|b", "[red]c[/red]:smile:"]
    write_study(tmp_path, names, classes=classes, meta={"name": "a & <b>"}, repeats=2, trials=6)
    assert main(["--logs", str(tmp_path)]) == 0
    text = (tmp_path / "a & <b>" / "report" / "report.html").read_text()
    page = Page()
    page.feed(text)
    beside = {"ranking.csv", "ranking.json", "trials.csv"}
    links = {link for link in page.links if not link.startswith(("data:image/png;base64,", "#"))}
    assert links == beside <= {path.name for path in (tmp_path / "a & <b>" / "report").iterdir()}
    assert page.tags.count("script") == 1 and evil not in text
    digest = base64.b64encode(hashlib.sha256(page.scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert page.tags.count("svg") >= 5 and "http" not in text.replace("http-equiv", "")
    markdown = (tmp_path / "a & <b>" / "report" / "report.md").read_text()
    shown = [line for line in markdown.splitlines() if not line.startswith("    ")]  # not code
    assert "<img" not in "\n".join(shown).replace("\\<img", "")


def test_a_name_is_shown_as_the_text_that_it_is(tmp_path):
    names = ["</td><script>alert(1)</script>", "\" onload='x' &amp;", "{{ 7*7 }}", "{% endblock %}"]
    write_study(tmp_path, names, meta={"name": "{{ name }}"}, repeats=2, trials=6)
    assert main(["--logs", str(tmp_path)]) == 0
    page = Page()
    page.feed((tmp_path / "{{ name }}" / "report" / "report.html").read_text())
    assert {*names, "{{ name }}"} <= {text.strip() for text in page.texts}
    assert page.tags.count("script") == 1


def test_a_value_that_the_page_misses_is_an_error():
    with pytest.raises(UndefinedError, match="details"):
        render("report.html", title="a study", headline="adam leads.")


def test_the_templates_are_installed_with_the_package():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = settings["package-data"]["study.report"]
    files = [f"templates/{path.name}" for path in TEMPLATES.iterdir()]
    assert [f for f in files if not any(fnmatch(f, pattern) for pattern in patterns)] == []
    assert len(files) >= 6


def test_names_that_look_like_markup_are_printed_as_they_are(tmp_path, capsys):
    write_study(tmp_path, ["[bold]x[/bold]", ":smile:"], repeats=2, trials=6)
    assert main(["--logs", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "[bold]x[/bold]" in out and ":smile:" in out


def test_every_run_is_a_row_of_the_page(report):
    folder = report.parent
    count = len((folder / "trials.jsonl").read_text().splitlines())
    text = (folder / "report" / "report.html").read_text()
    trials = text[text.index('<details id="runs"') :]
    assert f"All {count} runs" in trials
    assert trials.count("<tr><td>") == count


def test_another_margin_answers_at_once_from_the_same_records(logs, capsys):
    told = {}
    for margin in ("0.001", "90"):
        assert main(["--logs", str(logs), "--margin", margin]) == 0
        report = logs / "faces-hyperband" / "report"
        document = json.loads((report / "ranking.json").read_text())
        told[margin] = document["answer"]
    bounded = {e["optimizer"] for e in document["ranking"] if e["at_most_behind"] is not None}
    assert [told[m]["margin"] for m in told] == pytest.approx([0.00001, 0.9])
    assert set(told["90"]["good_enough"]) == bounded
    assert len(told["0.001"]["good_enough"]) <= 1
    assert main(["--logs", str(logs)]) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--margin", "0"], "--margin: received '0', but needs points of the metric, above 0 to"),
        (["--margin", "x"], "--margin: received 'x', but needs points of the metric"),
        (["--study", "nope"], "known: faces-hyperband"),
        (["--logs", "nowhere"], "no studies in nowhere"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(logs, capsys, arguments, sentence):
    assert main(["--logs", str(logs), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and sentence in captured.err
    assert captured.out == ""


def test_a_cut_off_last_line_is_left_out(tmp_path):
    path = write_study(tmp_path, ["adam"], repeats=1, trials=6) / "trials.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    assert main(["--logs", str(tmp_path)]) == 0


def python(code, *arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def test_five_thousand_runs_need_no_tensorflow_and_few_seconds(tmp_path):
    folder = write_study(tmp_path, trials=56)
    assert len((folder / "trials.jsonl").read_text().splitlines()) > 4900
    code = (
        "import sys, time; from study.report import main; main(sys.argv[1:]); "
        "bad = {'tensorflow', 'keras', 'matplotlib.pyplot', 'scipy.stats'} & set(sys.modules); "
        "print('BAD', sorted(bad), 'CPU', time.process_time())"
    )
    done = python(code, "--logs", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (folder / "report" / "report.html").stat().st_size < 3e6
    assert "BAD []" in done.stdout
    assert float(done.stdout.split()[-1]) < 6  # 2.2 on a quiet machine; CI may be slow


def test_help_loads_nothing_heavy():
    done = python(
        "import sys; from study.report import main\n"
        "heavy = {'numpy', 'matplotlib', 'scipy', 'rich', 'jinja2'}\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(heavy & set(sys.modules))"
    )
    assert "--study NAME" in done.stdout and done.stdout.rstrip().endswith("set()")


@pytest.mark.parametrize("name", ["adam", "signmomentum", "a-long-name-of-an-optimizer"])
def test_no_width_of_a_terminal_cuts_the_table(name: str) -> None:
    head = ("optimizer", "verdict", "behind ≤", "new ≤", "val acc", "test acc", "repeats")
    row = (name, "not pursued", "10.2", "11.9", "89.0", "92.1", "12")
    for width in range(60, 201):
        text = io.StringIO()
        grid = grid_of(Table("", "", head, (row,)), width)
        Console(file=text, width=width).print(grid)
        *heads, cells = text.getvalue().splitlines()
        shown = len(grid.columns)
        assert re.split(r"  +", cells.strip()) == list(row[:shown]), width
        words = Counter(" ".join(heads).split())
        assert words == Counter(" ".join(head[:shown]).split()), width
        assert shown == 7 or len(name) > 12


def test_verdicts_have_colours_where_the_terminal_has_them(
    logs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = {}
    for variable in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.setenv(variable, "1")
        assert main(["--logs", str(logs), "--margin", "90"]) == 0
        printed[variable] = capsys.readouterr().out
    assert "\x1b[32mgood enough" in printed["FORCE_COLOR"]
    assert "\x1b[3" not in printed["NO_COLOR"] and "good enough" in printed["NO_COLOR"]
