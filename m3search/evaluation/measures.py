"""Measures: names to numbers, by ir_measures (extra "eval").

Owns parsing, the depth that measures need, and the computation; imports beir, errors, and ir_measures on use. Invariant:
only what ir_measures can compute here gets to it, because some of its providers end the process at a bad cutoff.
"""

from __future__ import annotations

import difflib
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from m3search.errors import InputError, MissingExtraError
from m3search.evaluation.beir import HIGHEST_GRADE

DEFAULT_MEASURES = ("nDCG@10", "R@100")

_SHALLOWEST = 100
_WITHOUT_CUTOFF = 1000

_OTHER_NAMES = {"recall": "R", "precision": "P", "map": "AP", "hit": "Success", "hits": "Success", "mrr": "RR"}


def parse_measures(names: Sequence[str]) -> dict[str, Any]:
    """Name as given -> ir_measures' object.

    Args:
        names: such as "nDCG@10", "R@100", "RR@10", "AP", "P(rel=2)@5".

    Raises:
        InputError: no measure at all, or one that ir_measures does not know or cannot compute here.
        MissingExtraError: ir_measures is not installed.
    """
    if isinstance(names, str) or not names:
        raise InputError(f"the measures are {names!r}: give a list of names such as {list(DEFAULT_MEASURES)}")
    library = _library()
    return {name: _parse(name, library) for name in names}


def depth_for(names: Sequence[str]) -> int:
    """How many hits a query must have for these measures: the largest cutoff, at least 100; 1000 without cutoff.

    Raises:
        InputError, MissingExtraError: as `parse_measures`.
    """
    cutoffs = [_cutoff(measure) or _WITHOUT_CUTOFF for measure in parse_measures(names).values()]
    return max(_SHALLOWEST, *cutoffs)


def compute(
    names: Sequence[str], qrels: Mapping[str, Mapping[str, int]], run: Mapping[str, Sequence[tuple[str, float]]]
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Every measure over all judged queries and for each of them.

    A judged query that the run lacks counts with the measure's value for no hits, 0 for all usual ones; a query of
    the run without judgements is ignored.

    ir_measures' providers sort by score again and break ties in ways of their own (pytrec_eval: 32-bit floats, then
    falling document ids; others: as they come). So they get ranks as scores, whole and distinct numbers, and what
    they see is the order of the run. They get numbers instead of ids too, because some go through files that cannot
    hold white space, or want numbers for queries.

    Args:
        names: see `parse_measures`.
        qrels: query id -> document id -> grade.
        run: query id -> (document id, score), best first.

    Returns:
        measure -> value (the mean over the judged queries, or the sum for counts such as NumRet), and
        measure -> query id -> value.

    Raises:
        InputError: see `parse_measures`; no judged query; a measure that fails on these data.
    """
    measures = parse_measures(names)
    if not qrels:
        raise InputError("there is no judged query: nothing can be measured")
    for query, judged in qrels.items():
        for document, grade in judged.items():
            if isinstance(grade, bool) or not isinstance(grade, int) or abs(grade) > HIGHEST_GRADE:
                raise InputError(
                    f"query {query!r}: the grade of document {document!r} is {grade!r}: "
                    f"give a whole number up to {HIGHEST_GRADE:,}"
                )
    library = _library()
    numbers: dict[str, str] = {}
    queries = {query: str(n) for n, query in enumerate(qrels, start=1)}
    grades = {
        queries[query]: {numbers.setdefault(document, str(len(numbers))): grade for document, grade in judged.items()}
        for query, judged in qrels.items()
    }
    ranks = {
        queries[query]: {
            numbers.setdefault(document, str(len(numbers))): float(len(hits) - rank)
            for rank, (document, _) in enumerate(hits)
        }
        for query, hits in run.items()
        if query in queries and hits  # no hits is the same as missing, and some providers divide by their number
    }
    distinct = set(measures.values())
    found: dict[Any, dict[str, float]] = {measure: {} for measure in distinct}
    try:
        for metric in library.iter_calc(list(distinct), grades, ranks):
            found[metric.measure][metric.query_id] = float(metric.value)
    except (ValueError, AssertionError, ArithmeticError, OSError, subprocess.SubprocessError) as error:
        raise InputError(f"ir_measures cannot compute {', '.join(names)} on these judgements: {error}") from error
    per_query = {
        name: {query: found[measure].get(number, float(measure.DEFAULT)) for query, number in queries.items()}
        for name, measure in measures.items()
    }
    return {name: _aggregate(measure, per_query[name].values()) for name, measure in measures.items()}, per_query


def _aggregate(measure: Any, values: Iterable[float]) -> float:  # noqa: ANN401 - ir_measures has no types
    aggregator = measure.aggregator()
    for value in values:
        aggregator.add(value)
    return float(aggregator.result())


def _library() -> ModuleType:
    try:
        import ir_measures
    except ImportError as error:
        raise MissingExtraError("ir-measures", "eval", "evaluation") from error
    return ir_measures


def _parse(name: str, library: ModuleType) -> Any:  # noqa: ANN401 - ir_measures has no types
    if not isinstance(name, str):
        raise InputError(f"{name!r} is no measure: give a name such as 'nDCG@10'")
    try:
        measure = library.parse_measure(name.strip())
        repr(measure)  # fails at a parameter that the measure does not have
    except (NameError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"there is no measure {name!r}{_suggestion(name, library)}") from error
    if "cutoff" in measure.SUPPORTED_PARAMS and "cutoff" in measure.params:
        cutoff = measure.params["cutoff"]
        # checked here: trec_eval exits at a negative cutoff and crashes at 0
        if not isinstance(cutoff, int) or isinstance(cutoff, bool) or not 1 <= cutoff <= 10**6:
            raise InputError(f"the cutoff of {name!r} is {cutoff!r}: give a whole number from 1 to 1,000,000")
    try:
        measure.validate_params()
    except AssertionError as error:
        raise InputError(
            f"the measure {name!r} lacks a parameter or has a wrong one: write for example {measure.NAME}@10"
        ) from error
    providers = library.DefaultPipeline.providers
    if not any(provider.is_available() and provider.supports(measure) for provider in providers):
        raise InputError(
            f"the measure {name!r} needs a provider of ir_measures that is not installed here: "
            "choose another, or install ir-measures with the provider that its documentation names"
        )
    return measure


def _cutoff(measure: Any) -> int | None:  # noqa: ANN401 - ir_measures has no types
    cutoff: int | None = measure.params.get("cutoff")
    return cutoff


def _suggestion(name: str, library: ModuleType) -> str:
    """What was probably meant."""
    word, at, cutoff = name.strip().partition("@")
    known = {candidate.lower(): candidate for candidate in reversed(library.measures.registry)}  # the first name wins
    close = difflib.get_close_matches(word.lower(), known, n=1)
    meant = _OTHER_NAMES.get(word.lower()) or (known[close[0]] if close else None)
    if meant is None or meant == word:
        return f": write for example {', '.join(DEFAULT_MEASURES)}, RR@10, AP or P(rel=2)@5"
    return f": did you mean {meant}{at}{cutoff or ('10' if at else '')}?"
