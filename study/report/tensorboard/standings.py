"""What the report says of an optimizer, for its row of TensorBoard's table."""

from collections.abc import Sequence
from typing import NamedTuple

from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase, TrialRecord
from study.report.analysis.ranking import rank
from study.report.tables import verdict_words
from study.verdicts.judge import answer_of


class Standing(NamedTuple):
    """A confirmed optimizer, as the report's ranking has it."""

    verdict: str  # in words
    mean: float  # validation value of its reruns, adjusted to the leader's repeats


def standings(meta: StudyMeta, records: Sequence[TrialRecord]) -> dict[str, Standing]:
    """Those of all optimizers that were confirmed."""
    answer = answer_of(meta, records)
    return {
        row.optimizer: Standing(verdict_words(answer.about(row.optimizer)), row.mean)
        for row in rank(meta, records, answer)
        if row.basis is Phase.CONFIRM
    }
