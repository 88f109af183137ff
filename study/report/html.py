"""HTML from a summary and its figures: one file that needs no network and can be mailed.

The files in `templates/` say how a page looks; this module fills in the values. Jinja2 escapes
every value, raises where one is missing, and puts style and script inside the file.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from study.common.text import plain
from study.report.analysis.summary import Summary
from study.report.figures.picture import Picture
from study.report.figures.svg import palette
from study.report.keras_code import keras_code
from study.report.tables import (
    code_title,
    evaluation,
    heading,
    pairs_table,
    ranking_table,
    robustness_table,
    settings_table,
    study_table,
    trials_table,
    verdict_table,
)

TEMPLATES = Path(__file__).with_name("templates")


def page(summary: Summary, pictures: Sequence[Picture], warnings: Sequence[str]) -> str:
    """Return report.html, the page of one study."""
    best = summary.best
    return render(
        "report.html",
        title=summary.meta.name,
        heading=heading(summary.meta),
        headline=summary.headline.text,
        details=summary.headline.details,
        steps=summary.headline.next,
        warnings=warnings,
        ranking=ranking_table(summary),
        pictures=pictures,
        settings=settings_table(summary),
        code_title=code_title(summary),
        keras_code=keras_code(summary.meta, best.run, best.length) if best else "",
        evaluation=evaluation(summary),
        robustness=robustness_table(summary),
        pairs=pairs_table(summary),
        about=study_table(summary),
        citation=summary.citation,
        trials=trials_table(summary),
    )


def notebook_view(
    name: str, headline: str, summary: Summary | None = None, pictures: Sequence[Picture] = ()
) -> str:
    """Return the fragment that a notebook shows of a study; `summary` is None without results."""
    return _load("notebook.html").render(
        style=_text("style.css"),
        title=plain(name, 200),
        headline=headline,
        details=summary.headline.details if summary else (),
        steps=summary.headline.next if summary else (),
        warnings=[found.text for found in summary.cautions] if summary else (),
        pictures=pictures,
        tables=[verdict_table(summary)] if summary else (),
    )


def render(template: str, *, title: str, headline: str, heading: str = "", **values: Any) -> str:
    """Return a page: a template filled with `values`, and what links to its headings.

    The first sentence of the headline, the choice, is larger than the rest.
    """
    choice, stop, rest = headline.partition(". ")
    body = _load(template).render(**values)
    script = _text("page.js")
    return _load("page.html").render(
        title=plain(title, 200),
        heading=heading or title,
        choice=choice + stop,
        rest=rest,
        contents=re.findall(r'<details id="([^"]*)".*<h2>(.*)</h2>', body),
        body=body,
        style=_text("style.css"),
        palette=palette(body),
        script=script,
        digest=_base64(hashlib.sha256(script.encode()).digest()),
    )


def _text(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _load(template: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"plain": plain, "base64": _base64, "anchor": _anchor}
    return environment.get_template(template)


def _anchor(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
