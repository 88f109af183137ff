"""A study as a Python object that shows itself in a notebook: what `study.load` returns.

The files are read on first use and never again, so load a running study anew to see its progress.
A study without results shows a sentence instead of tables.
"""

from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from study.common.errors import UserError
from study.common.tensorflow import load_model
from study.common.text import plain
from study.records.study_files import WINNER_FILE
from study.records.study_folders import find_study
from study.records.study_meta import load_meta
from study.records.trial_record import TrialRecord
from study.records.trials_file import load_records
from study.report.analysis.summary import Summary, load_study
from study.report.data_files import flat_trials, ranking_head, ranking_rows
from study.report.figures.draw import RANKING, draw_figures
from study.report.html import notebook_view
from study.report.terminal import conclusion_text
from study.verdicts.answer import Answer

if TYPE_CHECKING:
    import pandas


class Study:
    """A study in its folder, finished or not.

    Args:
        folder: the study's folder, with its `study.json`.

    Raises:
        UserError: the folder holds no study, or a damaged one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()  # a notebook may change its working folder
        self._name = load_meta(self.folder).name

    @cached_property
    def _summary(self) -> Summary:
        return load_study(self.folder)

    @cached_property
    def _records(self) -> list[TrialRecord]:
        return load_records(self.folder, load_meta(self.folder))

    @property
    def headline(self) -> str:
        """The answer in words, or the reason why there is none."""
        try:
            return self._summary.headline.text
        except UserError as error:
            return str(error)

    @property
    def answer(self) -> Answer:
        """The verdict on every optimizer, and whether the answer is known.

        Raises:
            UserError: no run has finished yet; `ranking` and `figures` raise the same.
        """
        return self._summary.answer

    @property
    def ranking(self) -> "pandas.DataFrame":
        """A row for each optimizer, by verdict and bound, with the columns of `ranking.csv`."""
        rows = ranking_rows(self._summary)
        return _pandas(self.folder / "report" / "ranking.csv").DataFrame(
            rows, columns=list(ranking_head(self._summary.meta.metric))
        )

    @property
    def trials(self) -> "pandas.DataFrame":
        """A row for each run and a column for each hyperparameter, as in `trials.csv`."""
        head, rows = flat_trials(self._records)
        return _pandas(self.folder / "report" / "trials.csv").DataFrame(rows, columns=head)

    @cached_property
    def figures(self) -> dict[str, Figure]:
        """The report's figures by the names of their files, drawn on first use."""
        return {picture.name: picture.figure for picture in draw_figures(self._summary)[0]}

    def winner(self) -> Any:
        """Return the winner as a Keras model that turns pixels into probabilities.

        Pixels (N, size, size, 3) are RGB from 0 to 255; the report's code shows how 16/32-bit grey
        is converted. The model of a study of rows takes rows (N, d).

        Raises:
            UserError: the study has no winner yet, or the model's file is damaged.
        """
        path = self.folder / WINNER_FILE
        if not path.is_file():
            raise UserError(f"study {self._name} has no winner yet: run the same search to its end")
        return load_model(path)

    def __repr__(self) -> str:
        """Return the answer, the verdicts and what to do next as text."""
        name = plain(self._name, 200)
        try:
            return f"study {name}\n{conclusion_text(self._summary)}"
        except UserError as error:
            return f"study {name}: {plain(str(error), 2000)}"

    def _repr_html_(self) -> str:
        """Return the same and the figure of the ranking as HTML."""
        try:
            summary = self._summary
        except UserError as error:
            return notebook_view(self._name, str(error))
        pictures, _ = draw_figures(summary, RANKING)
        return notebook_view(self._name, summary.headline.text, summary, pictures)


def find(name: str | None, logs: str | PathLike[str]) -> Study:
    """Return the study of this name, or the newest one.

    Raises:
        UserError: no study has this name, or there are no studies.
    """
    return Study(find_study(Path(logs), name))


def _pandas(file: Path) -> Any:
    """Return pandas; `file` holds the same table as the one to make.

    Raises:
        UserError: pandas is not installed.
    """
    try:
        import pandas  # an optional dependency
    except ImportError:
        raise UserError(
            f"this table needs pandas: `pip install pandas`, or read {file}, which has "
            "the same content"
        ) from None
    return pandas
