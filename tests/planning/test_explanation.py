"""Explanations: their parts add up to the score, their tokens to the parts, and what they tell of the search is what it did."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hard_data import adversarial, random_query

from m3search.planning.explanation import Explanation, Spelling, explained
from m3search.planning.fusion import KINDS, Fusion
from m3search.planning.plan import Plan, Strategy
from m3search.planning.ranking import rank

FIRST = {"dense": 1.0, "lexical": 0.3, "bm25": 0.7}
ALL = {**FIRST, "colbert": 2.0}


def document_at(snapshot, ranking, at):
    return snapshot.document(snapshot.segments[ranking.found.owners[at]], int(ranking.found.numbers[at]))


def explanations(snapshot, ranking, query, spelling=None, text=""):
    return [
        explained(ranking, at, snapshot, query, text, document_at(snapshot, ranking, at), spelling)
        for at in range(len(ranking))
    ]


@pytest.mark.parametrize("codec", ["int8", "bf16", "int8+bits"])
@pytest.mark.parametrize("seed", range(4))
def test_parts_add_up_to_scores_and_tokens_to_parts(snapshot_of, seed, codec):
    documents, encodings = adversarial(seed)
    snapshot = snapshot_of(documents, encodings, 9, [document.id for document in documents[::11]], codec=codec)
    rng = np.random.default_rng([seed, 9])
    tokens = 0
    for number in range(40):
        query = random_query(rng)
        weights = ALL if number % 2 else FIRST
        plan = Plan(15, weights, FIRST, 100, 25 if number % 2 else 0, offset=number % 3)
        ranking = rank(query, snapshot, snapshot.allowed(None), plan)
        for at, one in enumerate(explanations(snapshot, ranking, query)):
            assert one.id == ranking.found.ids[at]
            assert [part.leg for part in one.parts] == list(weights)
            assert sum(part.contribution for part in one.parts) == pytest.approx(one.score, abs=1e-6)
            raw = {part.leg: part.raw for part in one.parts}
            assert {part.leg: part.value for part in one.parts} == raw == ranking.parts_of(at)
            for leg, matches in one.matches.items():
                assert sum(match.product for match in matches) == pytest.approx(raw[leg], abs=1e-6)
                assert all(match.product == match.query_weight * match.document_weight > 0 for match in matches)
                products = [match.product for match in matches]
                assert products == sorted(products, reverse=True)
                tokens += len(matches)
            if "colbert" in raw and one.pairs:
                assert np.mean([pair.similarity for pair in one.pairs]) == pytest.approx(raw["colbert"], abs=1e-6)
                assert len(one.pairs) == len(query.colbert)
    assert tokens > 500


@pytest.mark.parametrize("kind", KINDS)
def test_values_of_a_fusion_add_up_too(snapshot_of, kind):
    documents, encodings = adversarial(1)
    snapshot = snapshot_of(documents, encodings, 9)
    rng = np.random.default_rng(3)
    differ = 0
    for _ in range(10):
        query = random_query(rng)
        plan = Plan(10, FIRST, FIRST, 20, strategy=Strategy.LISTS, fusion=Fusion(kind, "zero"))
        ranking = rank(query, snapshot, snapshot.allowed(None), plan)
        for one in explanations(snapshot, ranking, query):
            assert sum(part.contribution for part in one.parts) == pytest.approx(one.score, abs=1e-6)
            differ += sum(part.value != part.raw for part in one.parts)
    assert bool(differ) == (kind != "raw")


def test_behind_the_rerank_set_scores_are_those_of_the_first_stage(snapshot_of):
    documents, encodings = adversarial(2)
    snapshot = snapshot_of(documents, encodings, 9)
    query = random_query(np.random.default_rng(8))
    ranking = rank(query, snapshot, snapshot.allowed(None), Plan(5, ALL, FIRST, 100, 10, offset=10))
    legs = [[part.leg for part in one.parts] for one in explanations(snapshot, ranking, query)]
    assert legs == [list(ALL)] * 10 + [list(FIRST)] * 5


def test_tokens_are_written_as_the_encoder_writes_them(snapshot_of):
    documents, encodings = adversarial(0)
    snapshot = snapshot_of(documents, encodings, 1000)
    rng = np.random.default_rng(0)

    def spans(texts):
        made = []
        for text in texts:
            starts = [0, *(at + 1 for at, letter in enumerate(text) if letter == " ")]
            ends = [at for at, letter in enumerate(text) if letter == " "] + [len(text)]
            made.append(np.array(list(zip(starts, ends, strict=True)) if text else np.empty((0, 2)), np.int64))
        return made

    spelling = Spelling(lambda token: f"<{token}>", spans, lambda _: [])
    labels = set()
    for _ in range(40):
        query = random_query(rng)
        ranking = rank(query, snapshot, snapshot.allowed(None), Plan(20, ALL, FIRST, 100, 20))
        for one in explanations(snapshot, ranking, query, spelling, "two words"):
            assert all(match.token.startswith("<") for match in one.matches["lexical"])
            assert not any(match.token.startswith("<") for match in one.matches["bm25"])
            if len(one.pairs) == 2:
                assert [pair.query_token for pair in one.pairs] == ["two", "words"]
            labels |= {pair.document_token for pair in one.pairs}
    assert {"zip", "archive", "[end]", "#0"} <= labels


def test_a_tree_tells_what_was_done(snapshot_of):
    documents, encodings = adversarial(0)
    snapshot = snapshot_of(documents, encodings, 7)
    query = random_query(np.random.default_rng(2))
    ranking = rank(query, snapshot, snapshot.allowed(None), Plan(3, ALL, FIRST, 4, 5))
    explanation = Explanation.of(ranking, 0.25)
    text = str(explanation)
    assert text.splitlines()[0] == f"top 3: certified blend in 250.00 ms: {ranking.guarantee}"
    for number, one in enumerate(ranking.trace.rounds, start=1):
        assert f"round {number}, {one.depth:,} of each leg" in text
        assert f"complete: {one.candidates:,} candidates, {one.kept:,} kept" in text
        for asked in one.legs.values():
            assert f"{asked.returned:,} proposed" in text
            assert f"{asked.postings:,} postings" in text
    assert f"rerank {ranking.trace.reranked:,} documents by dense 1, lexical 0.3, bm25 0.7, colbert 2" in text
    record = explanation.to_dict()
    assert record["plan"]["weights"] == ALL
    assert [one["depth"] for one in record["trace"]["rounds"]] == [one.depth for one in ranking.trace.rounds]
    one = explanations(snapshot, ranking, query)[0]
    drawn = str(one).splitlines()
    assert drawn[0] == f"{one.id}: {one.score:.6f}, weighted mean of raw scores"
    assert json.loads(json.dumps(one.to_dict()))["parts"][0]["leg"] == "dense"
    assert sum(line.startswith(("├─ ", "└─ ")) for line in drawn) == len(ALL)
