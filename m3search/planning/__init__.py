"""The planner: decides how a query is answered, completes what legs propose, proves the result, and explains it.

Imports retrieval and what is below it. Invariant: an answer's scores come from completion alone, and its guarantee is true.
"""

from m3search.planning.allowed import allowed_by, as_id, chosen, facets
from m3search.planning.answer import answer
from m3search.planning.certificate import Guarantee
from m3search.planning.cursor import Cursor
from m3search.planning.explanation import Explanation, HitExplanation, Spelling
from m3search.planning.fusion import Fusion
from m3search.planning.plan import Plan, Strategy
from m3search.planning.planner import Limits, check_k, make_plan
from m3search.planning.preparation import Prepared, Wanted, planned, prepare
from m3search.planning.ranking import RankedDocument, Ranking, rank

__all__ = [
    "Cursor",
    "Explanation",
    "Fusion",
    "Guarantee",
    "HitExplanation",
    "Limits",
    "Plan",
    "Prepared",
    "RankedDocument",
    "Ranking",
    "Spelling",
    "Strategy",
    "Wanted",
    "allowed_by",
    "answer",
    "as_id",
    "check_k",
    "chosen",
    "facets",
    "make_plan",
    "planned",
    "prepare",
    "rank",
]
