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


ROWS = (
    AgreementRow("our rules and the published judge", "G1_instruction", 489, 0.7519, 0.5658),
    AgreementRow("published judge and itself", "G1_instruction", 489, 0.8964, 0.7997),
    AgreementRow("our rules and the published judge", "held-out sets", 1155, 0.6863, 0.4863),
    AgreementRow("published judge and itself", "held-out sets", 1155, 0.9056, 0.8225),
)
"""On all public judgements: the set on which the rules were written, and the others, which are held out."""
