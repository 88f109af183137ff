"""README, CONTRIBUTING and docs/: what they link to and what they call by its path is there."""

import re
from pathlib import Path

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
