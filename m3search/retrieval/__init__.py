"""The legs: ways of scoring passages, each Query x Snapshot -> Candidates.

Imports storage and records. Invariant: legs propose and bound, `complete` scores exactly over stored values.
"""

from m3search.retrieval.bm25 import BM25Leg
from m3search.retrieval.colbert import ColbertLeg
from m3search.retrieval.dense import DenseLeg
from m3search.retrieval.joint import FEW, Claim, Joint, complete_jointly
from m3search.retrieval.leg import Allowed, Leg, members
from m3search.retrieval.lexical import LexicalLeg
from m3search.retrieval.query import Query
from m3search.retrieval.warming import ensure_compiled, load_loops, warm

ALL: dict[str, Leg] = {leg.name: leg for leg in (DenseLeg(), LexicalLeg(), BM25Leg(), ColbertLeg())}
"""Every leg by name."""

__all__ = [
    "ALL",
    "FEW",
    "Allowed",
    "BM25Leg",
    "Claim",
    "ColbertLeg",
    "DenseLeg",
    "Joint",
    "Leg",
    "LexicalLeg",
    "Query",
    "complete_jointly",
    "ensure_compiled",
    "load_loops",
    "members",
    "warm",
]
