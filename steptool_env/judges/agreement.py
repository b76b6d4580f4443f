"""Agreement of the rules with the published judge, as `benchmarks/stabletoolbench/judge_agreement.py` measured it.

Reports print it. `tests/agents/reporting/test_judges.py` compares the rows with the benchmark's result file.
"""

from typing import NamedTuple


class AgreementRow(NamedTuple):
    """Agreement of two judges.

    Attributes:
        judges: Names of the judges.
        where: Query sets.
        episodes: Number of judged episodes.
        same: Share of pairs with the same verdict (solved, unsure, unsolved).
        kappa: Cohen's kappa of the pairs.
    """

    judges: str
    where: str
    episodes: int
    same: float
    kappa: float


ROWS: tuple[AgreementRow, ...] = ()
