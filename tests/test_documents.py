"""README, CONTRIBUTING and docs/: links lead somewhere, commands and cells run as they are printed.

The cells of the README are executed in tests/test_search.py and tests/test_own_optimizers.py.
"""

import re
import shlex
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic import write_study

from study.compare import main as compare
from study.compare.archive import pack
from study.data import main as look
from study.predict import _parser as predict_parser
from study.report import main as report
from study.search.command_line import bases_of, each_base, given_values, parse, resolve_options
from study.space.search_space import load_space

ROOT = Path(__file__).parents[1]
PAGES = (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))
README_LINES = 200
NAMED = re.compile(r"`((?!logs/)[\w./]+/[\w.]*\w\.(?:py|toml|html|md))`")


def test_every_link_leads_to_a_file() -> None:
    faults = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
        if not target.startswith("http") and not (page.parent / target).exists()
    ]
    assert not faults, "\n".join(faults)


def test_every_path_that_is_named_exists() -> None:
    """A row of CONTRIBUTING that sends somebody to a file that has moved is worse than none."""
    faults = []
    for page in PAGES:
        if page.name == "CHANGELOG.md":  # speaks of its time
            continue
        for name in NAMED.findall(page.read_text(encoding="utf-8")):
            if not any((top / name).exists() for top in (ROOT, ROOT / "study")):
                faults.append(f"{page.relative_to(ROOT)}: {name}")
    assert not faults, "\n".join(faults)


def test_the_readme_is_read_in_a_few_minutes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES


# ---- commands ----

COMMAND = re.compile(r"python -m study\.(\w+)([^`\n]*)")
OTHER = ("pip", "tensorboard", "ray", "ruff", "mypy", "pre-commit", "apt-get", "source", "python")


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(page: Path) -> Iterator[tuple[str, ...]]:
    """Every command of the program on a page, in a block or in a line, with its arguments."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for name, rest in COMMAND.findall(text):
        words = shlex.split(rest.replace("DIR", "trials"), comments=True)
        if not any(word.isupper() and len(word) > 1 for word in words):  # such as --OPTION VALUE
            yield name, *words


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the documents name."""
    top = tmp_path_factory.mktemp("documents")
    rng = np.random.default_rng(1)
    for name in ("ant/1.png", "ant/2.png", "bee/1.png", "bee/2.png"):
        path = top / "my_photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(path)
    rows = "".join(f"{name},{name[:3]}\n" for name in ("ant/1.png", "bee/1.png", "bee/2.png"))
    (top / "my_photos" / "labels.csv").write_text(f"file,label\n{rows}")
    np.savez(top / "rows.npz", x=rng.normal(size=(12, 4)).astype("f4"), y=np.arange(12) % 2)
    toml = blocks(ROOT / "README.md", "toml")[0].split("[optimizers", 1)[0]
    (top / "mine.toml").write_text(toml)
    with zipfile.ZipFile(top / "mine.keras", "w") as archive:
        archive.writestr("config.json", "{}")  # of any input size
    for name in ("A", "B", "C", "mine", "default-hyperband"):
        write_study(top / "logs", ["adam", "sgd"], meta={"name": name}, repeats=5, trials=9,
                    seed=len(name) + ord(name[0]), predictions=False)  # fmt: skip
    records = top / "docs" / "findings" / "records.tar.xz"
    pack([top / "logs" / name for name in "AB"], records)
    shutil.copy(ROOT / "docs" / "findings" / "start.toml", records.parent)
    return top


def test_every_command_of_the_documents_is_one(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    run = {"data": look, "report": report, "compare": compare}
    pages = [page for page in PAGES if page.name != "CHANGELOG.md"]  # speaks of its time
    found = {one for page in pages for one in commands(page)}
    for one in sorted(found):
        name, *words = one
        if any(other[: len(one)] == one for other in found - {one}):
            continue  # a longer one is tried
        if name == "search":
            arguments = parse(words)
            given_values(arguments)
            space = load_space(arguments.space)
            for each in each_base(arguments, bases_of(arguments, space.study)):
                options = resolve_options(each, space.study, space.name)
                if options.optimizers:
                    space.restrict(options.optimizers.split(","))
        elif name == "predict":
            predict_parser().parse_args(words)
        else:
            assert run[name](words) == 0, (name, words, capsys.readouterr().err)


def test_every_other_command_is_one_of_a_few() -> None:
    for page in PAGES:
        for line in "".join(blocks(page, "sh")).replace("\\\n", " ").splitlines():
            first = shlex.split(line, comments=True)
            assert not first or first[0] in OTHER, f"{page.name}: {line}"


def test_the_cells_of_the_pages_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    names = {"embeddings": np.ones((4, 2), "f4") * np.arange(4)[:, None], "labels": [0, 1, 0, 1]}
    for page in (ROOT / "docs").glob("*.md"):
        for cell in blocks(page, "python"):
            exec(cell, dict(names))
        for number, cell in enumerate(blocks(page, "toml")):
            space = place / f"{page.stem}-{number}.toml"
            space.write_text(cell)
            load_space(str(space))
