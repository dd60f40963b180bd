"""The block-max engine against plain sums, where all its parts have work: frequent terms, blocks, bitmaps, segments."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import sparse

from m3search import Encodings, Index
from m3search.retrieval import ALL, Query, scratch
from m3search.storage import Environment, Snapshot
from m3search.storage.block_postings import block_arrays

VOCABULARY = 3000


def corpus(count, seed=0, per_row=30, weight=None):
    """Terms by Zipf's law, so that some stand in most rows and most in few; weights as `weight` draws them."""
    rng = np.random.default_rng(seed)
    chances = 1 / np.arange(1, VOCABULARY + 1)
    columns = np.searchsorted(np.cumsum(chances / chances.sum()), rng.random((count, per_row)))
    rows = np.repeat(np.arange(count), per_row)
    draw = weight or (lambda size: rng.gamma(2, 0.06, size).clip(0.01, 0.35))
    matrix = sparse.coo_array((draw(rows.size), (rows, columns.ravel())), shape=(count, VOCABULARY)).tocsr()
    matrix.sum_duplicates()
    return sparse.csr_array(matrix.astype(np.float32))


def stored(matrix):
    """Weights as they are kept, in f64."""
    weights = matrix.data
    half = (weights <= 65504) & (weights >= 2.0**-14)
    kept = np.where(half, np.where(half, weights, 0).astype(np.float16).astype(np.float64), weights.astype(np.float64))
    return sparse.csr_array((kept, matrix.indices, matrix.indptr), shape=matrix.shape)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """(matrix, segment size) -> a snapshot of it."""
    made = []

    def open_(matrix, segment_size):
        path = tmp_path_factory.mktemp("blocks") / "i"
        texts = (str(row) for row in range(matrix.shape[0]))
        Index.build(
            texts, path, encoder=None, bm25=False, encodings=Encodings(lexical=matrix), segment_size=segment_size
        ).close()
        environment = Environment.open(path / "store")
        made.append((environment, Snapshot.latest(environment, path)))
        return made[-1][1]

    yield open_
    for environment, snapshot in made:
        snapshot.release()
        environment.close()


def bitmaps(snapshot, mask):
    return [
        np.packbits(mask[segment.base : segment.base + segment.info.passages], bitorder="little")
        for segment in snapshot.segments
    ]


def check(snapshot, matrix, query, depth, mask=None):
    """Equal to plain sums: the scores by rank, each passage's own score, the bound over what was left out."""
    truth = stored(matrix) @ query.toarray()[0].astype(np.float64)
    if mask is not None:
        truth = np.where(mask, truth, 0)
    found = ALL["lexical"].search(
        Query.of(Encodings(lexical=query), None),
        snapshot,
        [None] * len(snapshot.segments) if mask is None else bitmaps(snapshot, mask),
        depth,
    )
    expected = np.sort(truth[truth > 0])[::-1][:depth]
    np.testing.assert_allclose(found.scores, expected, rtol=1e-12, atol=0)
    np.testing.assert_allclose(found.scores, truth[found.docids], rtol=1e-12, atol=0)
    assert len(set(found.docids.tolist())) == len(found.docids)
    assert (np.lexsort((found.docids, -found.scores)) == np.arange(len(found))).all()
    left = np.delete(truth, found.docids)
    assert found.bound >= left.max(initial=0) * (1 - 1e-12)
    return found


@pytest.fixture(scope="module")
def large():
    return corpus(20_000), corpus(40, seed=1, per_row=9)


@pytest.mark.parametrize("segment_size", [700, 6000, 20_000])
def test_every_depth_equals_plain_sums(large, opened, segment_size):
    matrix, queries = large
    snapshot = opened(matrix, segment_size)
    frequent = [segment.fields["lexical"].blocks.frequent_terms for segment in snapshot.segments]
    columns = [len(segment.fields["lexical"].blocks.arrays.columns) for segment in snapshot.segments]
    assert min(frequent) > max(columns) >= min(columns) > 1  # all three kinds of terms have work
    for row in range(queries.shape[0]):
        for depth in (1, 10, 100, 1000):
            check(snapshot, matrix, queries[[row]], depth)
    for depth in (10_000, 50_000):
        check(snapshot, matrix, queries[[0]], depth)


@pytest.mark.parametrize("density", [0.0, 0.001, 0.1, 0.5, 0.99, 1.0])
def test_only_what_is_allowed_is_found(large, opened, density):
    matrix, queries = large
    rng = np.random.default_rng(3)
    mask = rng.random(matrix.shape[0]) < density
    for segment_size in (700, 20_000):
        snapshot = opened(matrix, segment_size)
        for row in range(8):
            for depth in (1, 10, 300):
                found = check(snapshot, matrix, queries[[row]], depth, mask)
                assert mask[found.docids].all()


def test_more_rare_postings_than_the_scratch_has_room_for(large, opened, monkeypatch):
    matrix, _ = large
    snapshot = opened(matrix, 700)
    query = sparse.csr_array(np.linspace(0.1, 1, VOCABULARY, dtype=np.float32)[None])
    monkeypatch.setattr(scratch, "_FEWEST_PASSAGES", 0)
    with ThreadPoolExecutor(1) as fresh:  # a thread of its own, so scratch of its own
        for depth in (10, 1000):
            fresh.submit(check, snapshot, matrix, query, depth).result()
        room = fresh.submit(scratch.scratch_for, 0, 0).result()[5]
    blocks = snapshot.segments[0].fields["lexical"].blocks
    assert len(blocks.arrays.rare) > room == 704


def test_a_rare_term_in_all_passages_of_a_block(opened):
    """The block's sum is far above what a u32 holds, and above any passage's score."""
    count = 64 * 600
    weights = np.zeros((count, 3), np.float32)
    weights[64 * 7 : 64 * 8, 0] = np.linspace(0.2, 0.3, 64)
    weights[64 * 9 : 64 * 10 : 2, 0] = 0.3
    weights[::3, 1] = 0.25
    weights[5::600, 2] = 0.3
    matrix = sparse.csr_array(weights)
    snapshot = opened(matrix, count)
    assert snapshot.segments[0].fields["lexical"].blocks.frequent_terms == 1
    for query in ([1, 0, 0], [1, 1, 0], [1e-3, 1, 0], [1, 1e-6, 1], [1e30, 1, 1e30]):
        for depth in (1, 10, 100, 10_000):
            check(snapshot, matrix, sparse.csr_array(np.array([query], np.float32)), depth)


def test_work_is_saved_and_the_threshold_is_carried_on(large, opened):
    matrix, queries = large
    postings = np.bincount(matrix.indices, minlength=VOCABULARY)
    postings = np.where(4 * postings >= matrix.shape[0], matrix.shape[0], postings)  # those of a column are all read
    one, many = opened(matrix, 20_000), opened(matrix, 700)
    all_postings = touched = carried = alone = 0
    for row in range(queries.shape[0]):
        query = queries[[row]]
        all_postings += postings[query.indices].sum()
        touched += check(one, matrix, query, 10).postings
        carried += check(many, matrix, query, 10).postings
        for segment in many.segments:
            rows = matrix[segment.base : segment.base + segment.info.passages]
            alone += ALL["lexical"].search(_query(query), Only(segment), [None], 10).postings if rows.nnz else 0
    assert touched < all_postings
    assert carried < alone


class Only:
    """A snapshot of one segment, as far as a leg looks at it."""

    def __init__(self, segment):
        self.segments = (segment,)
        self.addresses = {}
        self.largest_segment = segment.info.passages


def _query(matrix):
    return Query.of(Encodings(lexical=matrix), None)


@pytest.mark.parametrize("terms", [1, 2, 50, 500, VOCABULARY])
def test_queries_of_one_to_all_terms(large, opened, terms):
    matrix, _ = large
    rng = np.random.default_rng(terms)
    columns = np.sort(rng.choice(VOCABULARY, terms, replace=False))
    weights = rng.uniform(0.01, 0.35, terms).astype(np.float32)
    query = sparse.csr_array((weights, columns, [0, terms]), shape=(1, VOCABULARY))
    for segment_size in (700, 20_000):
        check(opened(matrix, segment_size), matrix, query, 10)


@pytest.mark.parametrize(
    "draw",
    [
        lambda size: np.full(size, 0.25),
        lambda size: np.logspace(-37, 37, size),
        lambda size: np.full(size, np.float32(1.5e-45)),
        lambda size: np.full(size, 1e37) * (1 + np.arange(size) % 3),
        lambda size: 1 + np.arange(size) % 2 * 2.0**-10,
        lambda size: np.where(np.arange(size) % 97, 1e-6, 3e4),
    ],
    ids=["one value", "all magnitudes", "denormal", "huge", "near ties", "outliers"],
)
def test_any_weights(opened, draw):
    matrix = corpus(3000, seed=5, per_row=12, weight=draw)
    assert np.isfinite(matrix.data).all()
    queries = corpus(6, seed=6, per_row=8, weight=draw)
    for segment_size in (450, 3000):
        snapshot = opened(matrix, segment_size)
        for row in range(queries.shape[0]):
            for depth in (1, 10, 5000):
                check(snapshot, matrix, queries[[row]], depth)


def test_segments_of_one_passage_and_passages_of_no_token(opened):
    matrix = corpus(30, per_row=5)
    matrix = sparse.csr_array(sparse.vstack([matrix, sparse.csr_array((10, VOCABULARY), dtype=np.float32)]))
    snapshot = opened(matrix, 1)
    assert len(snapshot.segments) == 40
    for row in range(30):
        check(snapshot, matrix, matrix[[row]], 7)
    nothing = sparse.csr_array((1, VOCABULARY), dtype=np.float32)
    assert len(check(snapshot, matrix, nothing, 7)) == 0


def test_token_ids_up_to_the_last_of_32_bits(opened):
    wide = sparse.csr_array(
        (np.array([0.5, 0.25, 0.125], np.float32), np.array([0, 2**32 - 1, 2**32 - 1]), [0, 2, 3]), shape=(2, 2**32)
    )
    snapshot = opened(wide, 10)
    found = ALL["lexical"].search(_query(wide[[1]]), snapshot, [None], 10)
    assert found.docids.tolist() == [0, 1]
    assert found.scores.tolist() == [0.125 * 0.25, 0.125 * 0.125]


def test_many_threads_search_at_once(large, opened):
    from concurrent.futures import ThreadPoolExecutor

    matrix, queries = large
    snapshot = opened(matrix, 6000)
    alone = [check(snapshot, matrix, queries[[row]], 50) for row in range(queries.shape[0])]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda row: check(snapshot, matrix, queries[[row]], 50), range(queries.shape[0])))
    for one, other in zip(alone, together, strict=True):
        assert one.docids.tolist() == other.docids.tolist()
        assert one.scores.tobytes() == other.scores.tobytes()


def test_damaged_postings_give_wrong_scores_and_nothing_worse():
    """Random bytes in place of each array, in a process of its own that must live to tell."""
    code = """
import numpy as np
from types import SimpleNamespace
import sys
sys.path.insert(0, sys.argv[1])
from test_blocks import Only, corpus
from m3search import Encodings
from m3search.errors import CorruptionError
from m3search.retrieval import ALL, Query, scratch
from m3search.storage.postings import Field, LexicalWriter
matrix = corpus(5000)
writer = LexicalWriter()
writer.append(matrix)
arrays = writer.finish()
rng = np.random.default_rng(0)
for name in (
    "rare", "local", "block_max", "counts", "group_starts", "columns", "places", "ranked", "scales", "row_terms",
):
    for round_ in range(4):
        array = arrays[name]
        noise = np.frombuffer(rng.bytes(array.nbytes), array.dtype).reshape(array.shape)
        damaged = np.where(rng.random(array.shape) < (1.0, 0.5, 0.01, 0.0001)[round_], noise, array)
        try:
            field = Field({**arrays, name: damaged}, 5000, "it")
        except CorruptionError:
            continue
        segment = SimpleNamespace(fields={"lexical": field}, info=SimpleNamespace(passages=5000), base=0)
        for row in range(5):
            query = Query.of(Encodings(lexical=matrix[[row]]), None)
            with np.errstate(all="ignore"):
                found = ALL["lexical"].search(query, Only(segment), [None], 20)
            assert ((found.docids >= 0) & (found.docids < 5000)).all()
print("alive")
"""
    folder = __file__.rpartition("/")[0]
    result = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=False)
    assert result.stdout == "alive\n", result.stderr


def test_bounds_bound(large):
    matrix, _ = large
    terms, numbers = np.unique(matrix.indices, return_inverse=True)
    arrays = block_arrays(matrix.indptr.astype(np.int64), numbers.astype(np.uint32), matrix.data, len(terms))
    assert arrays["frequencies"].sum() == matrix.nnz
    scales = arrays["scales"].astype(np.float64)
    assert (scales > 0).all()
    largest = np.zeros(len(terms))
    np.maximum.at(largest, numbers, matrix.data)
    assert (scales * 1020 >= largest).all()
    assert (scales * 1020 <= largest * (1 + 1e-6)).all()
