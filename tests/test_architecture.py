"""The house: which wing may import which, no circle, nothing heavy where it is not needed."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ARCHITECTURE = ROOT / "docs" / "architecture.md"

# Wing -> what it may import; the way of the data runs upwards.
MAY_IMPORT = {
    "common": set(),
    "records": {"common"},
    "space": {"common"},
    "data": {"common"},
    "features": {"data", "common"},
    "training": {"space", "common"},
    "verdicts": {"records", "common"},
    "tensorboard": {"verdicts", "records", "space", "common"},
    "report": {"tensorboard", "verdicts", "records", "space", "common"},
    "compare": {"report", "verdicts", "records", "space", "common"},
    "predict": {"verdicts", "records", "data", "common"},
    "machines": {"training", "features", "data", "space", "common"},
    "search": {
        *("compare", "machines", "report", "tensorboard", "verdicts", "training", "features"),
        *("data", "space", "records", "common"),
    },
    "study": {"search", "report"},  # what `import study` offers
}
WITHOUT_TENSORFLOW = (
    *("compare", "report", "tensorboard", "verdicts", "space", "data", "records"),
    "common",
)
HEAVY = ("tensorflow", "keras", "keras_tuner")
COMMANDS = ("search", "report", "compare", "data", "predict")
MOST_LINES = 500


def modules() -> list[Path]:
    return sorted(path for path in (ROOT / "study").rglob("*.py"))


def name_of(path: Path) -> str:
    """`study.space.keys`, or `study.space` of its `__init__.py`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


KNOWN = {name_of(path) for path in modules()}


def imports(path: Path, *, top: bool = False) -> Iterator[tuple[int, str]]:
    """(line, module) of every import; with `top` those that run when the file is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: a relative import"
            module = node.module or ""
            inside = [f"{module}.{alias.name}" for alias in node.names]
            yield from ((node.lineno, name if name in KNOWN else module) for name in inside)


def wing(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def test_every_wing_has_its_line_above() -> None:
    entries = {path.name for path in (ROOT / "study").iterdir()} - {"__pycache__", "__init__.py"}
    assert entries == {"predict.py", *MAY_IMPORT} - {"predict", "study"}


def test_imports_run_one_way() -> None:
    faults = []
    for path in modules():
        own = wing(name_of(path))
        for line, module in imports(path):
            other = wing(module) if module.startswith("study.") else own
            if other != own and other not in MAY_IMPORT[own]:
                faults.append(
                    f"{path.relative_to(ROOT)}:{line}: {own} imports {module}, but may import "
                    f"{sorted(MAY_IMPORT[own])} only"
                )
    assert not faults, "\n".join(faults)


def test_only_the_machines_know_ray_and_the_search_knows_no_more_than_their_protocol() -> None:
    shown = {f"study.machines.{name}" for name in ("connection", "machines", "opened")}
    faults = [
        f"{path.relative_to(ROOT)}:{line}: {module}"
        for path in modules()
        if wing(name_of(path)) != "machines"
        for line, module in imports(path)
        if module.split(".")[0] == "ray"
        or (module.startswith("study.machines") and module not in shown)
    ]
    assert not faults, "\n".join(faults)


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        name_of(path): {m for _, m in imports(path, top=True) if m.startswith("study.")}
        for path in modules()
    }
    done: set[str] = set()

    def walk(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join((*way[way.index(module) :], module))
        if module not in done:
            for other in sorted(graph.get(module, ())):
                walk(other, (*way, module))
            done.add(module)

    for module in graph:
        walk(module, ())


def test_no_heavy_library_is_imported_at_the_top_of_these_wings() -> None:
    faults = [
        f"{path.relative_to(ROOT)}:{line}: {module}"
        for path in modules()
        if wing(name_of(path)) in WITHOUT_TENSORFLOW
        for line, module in imports(path, top=True)
        if module.split(".")[0] in HEAVY
    ]
    assert not faults, "\n".join(faults)


IMPORTED = """
import importlib, sys
for name in sys.argv[1].split():
    importlib.import_module(name)
heavy = sorted({"tensorflow", "keras", "keras_tuner"} & set(sys.modules))
assert not heavy, f"{heavy} came in by {sys.argv[1]}"
"""


@pytest.mark.parametrize("own", WITHOUT_TENSORFLOW)
def test_a_whole_wing_comes_without_tensorflow(own: str) -> None:
    names = [name_of(path) for path in modules() if wing(name_of(path)) == own]
    names = [name for name in names if not name.endswith("__main__")]
    run = [sys.executable, "-c", IMPORTED, " ".join(names)]
    ended = subprocess.run(run, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr


HELP = """
import runpy, sys
sys.argv = ["study", "--help"]
try:
    runpy.run_module(sys.path.pop(), run_name="__main__")
except SystemExit as end:
    assert end.code == 0
heavy = sorted({"tensorflow", "keras", "keras_tuner", "matplotlib", "jinja2"} & set(sys.modules))
assert not heavy, heavy
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_waits_for_nothing_heavy(command: str) -> None:
    code = HELP.replace("sys.path.pop()", repr(f"study.{command}"))
    run = [sys.executable, "-c", code]
    ended = subprocess.run(run, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    assert f"usage: python -m study.{command}" in ended.stdout


def test_no_file_is_too_long_to_be_read_at_once() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in modules()}
    faults = [f"{path.relative_to(ROOT)}: {n}" for path, n in lengths.items() if n > MOST_LINES]
    assert not faults, "\n".join(faults)


def test_every_package_is_installed() -> None:
    listed = set(re.findall(r'"(study[\w.]*)"', (ROOT / "pyproject.toml").read_text()))
    packages = {name_of(path) for path in modules() if path.name == "__init__.py"}
    assert packages <= listed


def test_the_picture_in_the_documents_shows_the_imports_between_wings() -> None:
    """An arrow of the diagram is an import of the code, and the other way round."""
    diagram = (
        ARCHITECTURE.read_text(encoding="utf-8").partition("```mermaid\n")[2].partition("```")[0]
    )
    drawn = {
        (start, end)
        for start, ends in re.findall(r"^ *(\w+) --> ([\w &]+)$", diagram, re.M)
        for end in ends.split(" & ")
    }
    found = {
        (wing(name_of(path)), wing(module))
        for path in modules()
        for _, module in imports(path)
        if module.startswith("study.") and wing(module) != wing(name_of(path))
    }
    assert drawn == {(start, end) for start, end in found if end != "common"}
