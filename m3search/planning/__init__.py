"""The planner: decides how a query is answered, completes what legs propose, and proves the result.

Imports retrieval and what is below it. Invariant: an answer's scores come from completion alone, and its guarantee is true.
"""

from m3search.planning.answer import answer
from m3search.planning.certificate import Guarantee
from m3search.planning.plan import Plan, check_k, make_plan
from m3search.planning.preparation import Prepared, Wanted, WeightsLike, prepare
from m3search.planning.ranking import RankedDocument, Ranking, rank

__all__ = [
    "Guarantee",
    "Plan",
    "Prepared",
    "RankedDocument",
    "Ranking",
    "Wanted",
    "WeightsLike",
    "answer",
    "check_k",
    "make_plan",
    "prepare",
    "rank",
]
