"""Evaluation: how good are the answers? BEIR and TREC files, measures, and a loop over the queries.

Imports errors only, and ir_measures (extra "eval") on use; knows nothing of indexes: it is handed a search function.
Invariant: every judged query counts, also one that was never answered.
"""

from m3search.evaluation.beir import Dataset, load_beir
from m3search.evaluation.evaluate import Evaluation, Search, evaluate, evaluate_run
from m3search.evaluation.measures import DEFAULT_MEASURES, depth_for
from m3search.evaluation.trec import Qrels, Run, read_qrels, read_run, write_qrels, write_run

__all__ = [
    "DEFAULT_MEASURES",
    "Dataset",
    "Evaluation",
    "Qrels",
    "Run",
    "Search",
    "depth_for",
    "evaluate",
    "evaluate_run",
    "load_beir",
    "read_qrels",
    "read_run",
    "write_qrels",
    "write_run",
]
