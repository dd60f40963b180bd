"""Frozen data that flow between the rooms: documents, encodings, candidates, weights, hits.

Imports errors, numpy and scipy only; everyone imports it. Invariant: a record is valid once it is made.
"""

from m3search.records.candidates import Candidates
from m3search.records.document import Document
from m3search.records.encodings import Encodings, lexical_matching_score
from m3search.records.frozen import frozen
from m3search.records.hits import Hit, Hits, LazyHits
from m3search.records.identity import EncoderIdentity
from m3search.records.passages import Passages
from m3search.records.snippet import Snippet
from m3search.records.token_codes import CODECS, TokenCodes, check_codec
from m3search.records.tree import Tree
from m3search.records.weights import LEGS, PRESETS, Weights, WeightsLike

__all__ = [
    "CODECS",
    "LEGS",
    "PRESETS",
    "Candidates",
    "Document",
    "EncoderIdentity",
    "Encodings",
    "Hit",
    "Hits",
    "LazyHits",
    "Passages",
    "Snippet",
    "TokenCodes",
    "Tree",
    "Weights",
    "WeightsLike",
    "check_codec",
    "frozen",
    "lexical_matching_score",
]
