"""The ColBERT leg over an index: estimates where signs are stored, and nothing else changed by them."""

from __future__ import annotations

import numpy as np
import pytest
from generated import collection, queries, snapshot

from m3search.retrieval import ColbertLeg

LEG = ColbertLeg()


@pytest.mark.parametrize("size", [3, 100_000])
def test_signs_change_no_score(tmp_path, size):
    made = collection(3)
    rows = np.arange(len(made.rows_of))
    with (
        snapshot(tmp_path / "plain", made, size) as plain,
        snapshot(tmp_path / "signs", made, size, colbert="int8+bits") as signs,
    ):
        assert not LEG.can_estimate(plain)
        assert LEG.can_estimate(signs)
        assert {suffix for segment in signs.segments for suffix in segment.files} == {"vectors", "colbert", "signs"}
        for query in queries(3).values():
            assert LEG.complete(query, signs, rows).tobytes() == LEG.complete(query, plain, rows).tobytes()


@pytest.mark.parametrize("size", [3, 100_000])
def test_an_estimate_is_the_same_to_the_last_bit_in_any_company(tmp_path, size):
    made = collection(4)
    rows = np.arange(len(made.rows_of))
    with snapshot(tmp_path / "i", made, size, colbert="int8+bits") as opened:
        query = queries(4)["all parts"]
        together = LEG.estimate(query, opened, rows)
        chosen = np.random.default_rng(1).permutation(rows)[:30]
        assert LEG.estimate(query, opened, chosen).tobytes() == together[chosen].tobytes()
        empty = np.array([not len(tokens) for tokens in made.encodings.colbert])
        assert (together[empty] == 0).all()
        assert (together[~empty] != 0).any()
        for other in ("no parts", "all zero"):
            assert not LEG.estimate(queries(4)[other], opened, rows).any()


def test_an_index_without_token_vectors_estimates_nothing(tmp_path):
    from m3search import Index
    from m3search.storage import Environment, Snapshot

    Index.build(["a", "b"], tmp_path / "i", encoder=None).close()
    environment = Environment.open(tmp_path / "i" / "store")
    try:
        with Snapshot.latest(environment, tmp_path / "i") as opened:
            assert not LEG.can_estimate(opened)
    finally:
        environment.close()
