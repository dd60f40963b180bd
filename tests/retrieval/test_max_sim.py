"""MaxSim by blocks against its formula: every codec within its bound, int8 to the last bit, in any company, and damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from token_store import products, store, truth, vectors

from m3search.errors import QueryError
from m3search.retrieval.max_sim import MaxSim, max_sim
from m3search.retrieval.packed_query import steps_of
from m3search.retrieval.product_tile import TILE

DIMS = [1, 2, 3, 31, 32, 33, 100, 384, 1024]
LENGTHS = [1, 2, TILE - 1, TILE, TILE + 1, 3 * TILE, 100]
ASKED = [1, 2, 15, 16, 17, 33]
CODECS = ["int8", "bf16", "int8+bits"]


def everything(stored):
    return np.arange(len(stored.ends) - 1)


def rounding(query, stored, passage):
    """How far the score of a passage may be from MaxSim over its stored values."""
    sizes = np.abs(stored.decode(passage).astype(np.float64))
    if not len(sizes):
        return 0.0
    if stored.scales is None:  # a float32 sum in any order: Higham, section 3.1
        steps = query.shape[1] * 2.0**-24
        return (steps / (1 - steps) * (np.abs(query.astype(np.float64)) @ sizes.T).max(axis=1)).mean() + 1e-30
    # of two tokens nearer than the rounding of the query, half a step in every component, the other may be taken
    return 2 * (steps_of(query) / 2).mean() * sizes.sum(axis=1).max() + 1e-7 * sizes.max() * np.abs(query).sum()


def storing(query, passage, codec):
    """How far MaxSim over stored values may be from MaxSim over the vectors themselves."""
    if not len(passage):
        return 0.0
    sizes = np.abs(passage.astype(np.float64))
    steps = sizes * 2.0**-8 if codec == "bf16" else sizes.max(axis=1, keepdims=True) / 254 * np.ones_like(sizes)
    return (np.abs(query.astype(np.float64)) @ steps.T).max(axis=1).mean() * (1 + 1e-6)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dim", DIMS)
def test_scores_are_within_the_bound_of_the_codec(codec, dim):
    passages = [vectors(length, dim, seed) for seed, length in enumerate([*LENGTHS, 0])]
    stored = store(passages, codec)
    for asked in ASKED:
        query = vectors(asked, dim, 100 + asked)
        scores = MaxSim(query).scores(stored, everything(stored))
        for number, passage in enumerate(passages):
            kept = abs(scores[number] - truth(query, stored.decode(number)))
            assert kept <= rounding(query, stored, number), (asked, number)
            lost = abs(scores[number] - truth(query, passage))
            assert lost <= rounding(query, stored, number) + storing(query, passage, codec), (asked, number)


@pytest.mark.parametrize("dim", [3, 384, 1024])
def test_int8_chooses_by_whole_numbers_and_scores_with_the_query_as_it_is(dim):
    passages = [vectors(length, dim, length) for length in (1, 2, 300)]
    query = vectors(18, dim, 9)
    stored = store(passages, "int8")
    steps = steps_of(query)
    whole = np.rint(query / steps[:, None]).astype(np.int64)
    assert 32766 <= np.abs(whole).max() <= 32767
    scores = MaxSim(query).scores(stored, everything(stored))
    for number in range(3):
        rows = slice(*stored.ends[number : number + 2])
        scales = stored.scales[rows].astype(np.float64)
        winners = ((whole @ stored.codes[rows].astype(np.int64).T) * scales).argmax(axis=1)
        exact = query.astype(np.float64) @ stored.codes[rows].astype(np.float64).T * scales
        assert scores[number] == pytest.approx(exact[np.arange(18), winners].mean(), rel=1e-13, abs=1e-15)
        assert scores[number] <= exact.max(axis=1).mean() + 1e-15


def test_of_two_tokens_that_rounding_cannot_tell_apart_the_first_counts():
    """The scores differ by 1e-6, and 1/32767 is the step."""
    query = np.array([[1, 1e-6]], np.float32)
    stored = store([np.array([[127, 0], [127, 127]], np.float32), np.array([[127, 127], [127, 0]], np.float32)], "int8")
    scores = MaxSim(query).scores(stored, everything(stored))
    assert scores[0] == 127
    assert scores[1] == pytest.approx(127 + 127e-6, rel=1e-12)


@pytest.mark.parametrize("codec", CODECS)
def test_a_score_is_the_same_to_the_last_bit_in_any_company(codec):
    rng = np.random.default_rng(2)
    passages = [vectors(int(length), 50, seed) for seed, length in enumerate(rng.integers(0, 4 * TILE, 60))]
    sim = MaxSim(vectors(7, 50, 99))
    stored = store(passages, codec)
    together = sim.scores(stored, everything(stored))
    for chosen in (rng.permutation(60), rng.integers(0, 60, 200), np.empty(0, np.int64)):
        assert sim.scores(stored, chosen).tobytes() == together[chosen].tobytes()
    for number in range(60):
        assert sim.scores(stored, np.array([number]))[0] == together[number]
        alone = sim.scores(store(passages[number : number + 1], codec), np.array([0]))[0]
        assert alone == together[number]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("length", range(1, 2 * TILE + 2))
def test_nothing_wins_that_is_no_token(codec, length):
    """All products are negative: a row of zeros in place of a token, or a neighbour's row, would win."""
    query = np.abs(vectors(3, 20, 1))
    neighbour = np.abs(vectors(40, 20, 2))
    stored = store([neighbour, -np.abs(vectors(length, 20, 3)), neighbour], codec)
    scores = MaxSim(query).scores(stored, everything(stored))
    assert scores[1] < 0 < scores[0]
    assert scores[1] == pytest.approx(truth(query, stored.decode(1)), rel=1e-3)


@pytest.mark.parametrize("codec", CODECS)
def test_one_token_asks_a_passage_of_8192(codec):
    passage = vectors(8192, 64, 4)
    for at in (0, 4096, 8191):
        query = passage[at : at + 1]
        stored = store([vectors(3, 64, 5), passage], codec)
        scores = MaxSim(query).scores(stored, everything(stored))
        assert scores[1] == pytest.approx(1, abs=0.01)
        assert scores[1] == pytest.approx(truth(query, stored.decode(1)), abs=1e-5)


def test_a_query_of_8192_tokens():
    query = vectors(8192, 16, 6)
    stored = store([query[5:6], query[:500]], "int8")
    scores = MaxSim(query).scores(stored, everything(stored))
    for number in range(2):
        assert scores[number] == pytest.approx(truth(query, stored.decode(number)), abs=1e-5)


@pytest.mark.parametrize("dim", [1024, 4096])
def test_no_sum_leaves_32_bits(dim):
    """The largest codes everywhere, of the query too: 32767 * 127 * 1024 would not fit."""
    ones = np.ones((1, dim), np.float32)
    stored = store([ones, -ones], "int8")
    assert MaxSim(ones).scores(stored, everything(stored)) == pytest.approx([dim, -dim], rel=1e-3)
    whole = np.rint(ones / steps_of(ones)[:, None])
    assert whole.sum() * 128 < 2**31 <= (whole + 2).sum() * 128


@pytest.mark.parametrize("codec", ["int8", "bf16"])
@pytest.mark.parametrize("size", [1e30, 1e35, 3e38])
def test_products_beyond_float32_are_numbers(codec, size):
    """Of tokens whose products float32 cannot tell apart, the best counts too."""
    query = np.array([[size, -size], [size, 0]], np.float32)
    passage = np.array([[size / 4, size / 4], [size / 2, size / 4], [size / 4, size / 4]], np.float32)
    scores = MaxSim(query).scores(store([passage], codec), np.array([0]))
    assert scores == pytest.approx((size * size / 4 + size * size / 2) / 2, rel=0.02)


def test_zeros_score_nothing():
    query = vectors(2, 8, 1)
    stored = store([np.zeros((3, 8), np.float32)], "int8+bits")
    assert MaxSim(query).scores(stored, np.array([0])) == [0]
    assert MaxSim(np.zeros((2, 8), np.float32)).scores(store([query], "int8"), np.array([0])) == [0]


# -- signs --


@pytest.mark.parametrize("dim", [1, 31, 32, 33, 384])
def test_an_estimate_is_the_cosine_of_the_fewest_differing_signs(dim):
    passages = [vectors(length, dim, length) for length in (1, 0, TILE + 1, 70)]
    stored = store(passages, "int8+bits")
    query = 3 * vectors(17, dim, 5)
    estimates = MaxSim(query).estimates(stored, everything(stored))
    for number, passage in enumerate(passages):
        differing = ((query > 0)[:, None, :] != (passage > 0)[None]).sum(axis=2)
        expected = (3 * np.cos(np.pi * differing.min(axis=1) / dim)).mean() if len(passage) else 0
        assert estimates[number] == pytest.approx(expected, abs=1e-6)


def test_estimates_put_the_best_among_the_first():
    """Passages that hold what is asked, a little turned, before those that do not."""
    query = vectors(8, 384, 1)
    near = [query + 0.7 * vectors(8, 384, seed) for seed in range(2, 12)]
    far = [vectors(40, 384, seed) for seed in range(20, 110)]
    stored = store([*near, *far], "int8+bits")
    estimates = MaxSim(query).estimates(stored, everything(stored))
    assert set(np.argsort(-estimates)[:10]) == set(range(10))


# -- what may go wrong --


@pytest.mark.parametrize("codec", CODECS)
def test_damaged_offsets_read_nothing_outside(codec):
    """Nothing inside scores above 0; what lies before and behind the arrays in memory would."""
    inside, outside = -np.abs(vectors(30, 8, 1)), np.full((30, 8), 100, np.float32)
    stored = store([outside, inside, outside], codec)
    for name in ("codes", "scales", "signs"):
        array = getattr(stored, name)
        if array is not None:
            setattr(stored, name, array[30:60])
    sim = MaxSim(np.ones((2, 8), np.float32))
    for ends in ([-30, 60, -5], [0, 2**62, 30], [-(2**62), 2**62, 30], [40, 50, 60], [30, 0, 30], [29, 31, 2]):
        stored.ends = np.array(ends, np.int64)
        for score in (sim.scores, sim.estimates)[: 2 if codec == "int8+bits" else 1]:
            scores = score(stored, np.array([0, 1, 0]))
            assert np.isfinite(scores).all()
            assert (scores <= 0).all(), ends


def test_damaged_values_are_scores_that_can_be_ordered():
    passages = [vectors(5, 8, seed) for seed in range(6)]
    query = vectors(3, 8, 9)
    stored = store(passages, "int8")
    scales = stored.scales.copy()
    scales[[0, 5, 6, 7, 8, 9, 10]] = [np.nan, *[np.nan] * 5, np.inf]
    stored.scales = scales
    assert np.isfinite(MaxSim(query).scores(stored, everything(stored))).all()
    stored = store(passages, "bf16")
    codes = stored.codes.copy()
    codes[:7, 2] = [0x7F80, 0xFF80, 0x7FC0, 0x7F80, 0x7F81, 0x7FC0, 0x7FC0]
    stored.codes = codes
    assert np.isfinite(MaxSim(query).scores(stored, everything(stored))).all()


def test_a_query_of_another_width_is_refused():
    stored = store([vectors(2, 8)], "int8+bits")
    for score in (MaxSim.scores, MaxSim.estimates):
        with pytest.raises(QueryError, match="the query's token vectors are 9 wide, the index has 8"):
            score(MaxSim(vectors(1, 9)), stored, np.array([0]))


def test_threads_have_scratch_of_their_own():
    passages = [vectors(30 + seed, 96, seed) for seed in range(40)]
    stored = {codec: store(passages, codec) for codec in CODECS}
    queries = [vectors(1 + 5 * seed, 96, 1000 + seed) for seed in range(16)]

    def answer(number):
        sim = MaxSim(queries[number % 16])
        return [sim.scores(one, everything(one)).tobytes() for one in stored.values()]

    expected = [answer(number) for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(answer, range(64))) == expected * 4


ANSWERS = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from token_store import store, vectors
from m3search.retrieval.max_sim import MaxSim
from m3search.retrieval.product_tile import TILE
passages = [vectors(length, 65, length) for length in range(40)]
sim = MaxSim(vectors(19, 65, 77))
numbers = np.arange(40)
signs = store(passages, "int8+bits")
print(TILE, sim.estimates(signs, numbers).tobytes().hex())
print(*sim.scores(signs, numbers), *sim.scores(store(passages, "bf16"), numbers))
"""


def test_a_processor_without_wide_registers_gives_the_same_scores(tmp_path):
    found = []
    for extra in ({}, {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}):
        result = subprocess.run(
            [sys.executable, "-c", ANSWERS, str(Path(__file__).parent)],
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), **extra},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        bits, numbers = result.stdout.splitlines()
        found.append((*bits.split(), np.array(numbers.split(), float)))
    (tile, estimates, scores), (narrow, same_estimates, same_scores) = found
    assert (int(tile), int(narrow)) == (TILE, 6)
    assert estimates == same_estimates
    assert scores[:40] == pytest.approx(same_scores[:40], rel=1e-14, abs=1e-16)
    assert scores[40:] == pytest.approx(same_scores[40:], abs=1e-6)


# -- the formula in float64, which stands in where float32 is too small --


@pytest.mark.parametrize("asked", [1, 5])
def test_the_formula_itself(asked):
    query, passage = vectors(asked, 8, 1), vectors(33, 8, 2)
    assert max_sim(query, passage) == pytest.approx(truth(query, passage), abs=1e-15)
    best = [max(float(q.astype(float) @ d.astype(float)) for d in passage) for q in query]
    assert max_sim(query, passage) == pytest.approx(np.mean(best), abs=1e-15)
    assert max_sim(query, passage[:0]) == 0
    assert products(query, passage).shape == (asked, 33)
