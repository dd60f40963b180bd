"""The parts of a search over all segments against plain numpy."""

import numpy as np
import pytest

from m3search import Encodings, Index
from m3search.retrieval import ALL, Query
from m3search.retrieval.addresses import field_addresses
from m3search.retrieval.field_search import find_tokens
from m3search.retrieval.scratch import scratch_for
from m3search.storage import Environment, Snapshot


@pytest.fixture
def opened(tmp_path):
    """Token weights as rows -> a snapshot of them."""
    made = []

    def open_(matrix, **options):
        path = tmp_path / f"i{len(made)}"
        texts = (str(row) for row in range(matrix.shape[0]))
        Index.build(texts, path, encoder=None, bm25=False, encodings=Encodings(lexical=matrix), **options).close()
        environment = Environment.open(path / "store")
        made.append((environment, Snapshot.latest(environment, path)))
        return made[-1][1]

    yield open_
    for environment, snapshot in made:
        snapshot.release()
        environment.close()


def rows(tokens, vocabulary):
    """A passage for each token, which it holds alone."""
    from scipy import sparse

    weights = np.linspace(0.1, 1, len(tokens), dtype=np.float32)
    return sparse.csr_array((weights, tokens, np.arange(len(tokens) + 1)), shape=(len(tokens), vocabulary))


@pytest.mark.parametrize(
    "known",
    [
        [0],
        [7],
        [2**31 - 2],
        list(range(100)),
        list(range(50, 90)),
        [0, 1, 2, 1000, 1001, 5000, 2**31 - 2],
        list(range(0, 3000, 7)),
    ],
)
def test_tokens_are_found_wherever_they_stand(opened, known):
    snapshot = opened(rows(np.array(known), 2**31 - 1))
    row = field_addresses(snapshot.segments[0], "lexical")
    around = {token + step for token in known for step in (-1, 0, 1)} | {0, 3, 49, 2**20, 2**32 - 1}
    wanted = np.array(sorted(token for token in around if 0 <= token < 2**32), np.uint32)
    numbers = np.full(len(wanted), -7, np.int64)
    find_tokens(row, wanted, numbers)
    expected = [known.index(token) if token in known else -1 for token in wanted.tolist()]
    assert numbers.tolist() == expected


def test_scratch_grows_with_the_largest_segment_and_the_longest_query():
    first = scratch_for(10, 3).copy()
    assert (scratch_for(1, 1) == first).all()
    size = 64 * int(first[1]) + 1  # one more than there are blocks for
    grown = scratch_for(size, 3).copy()
    assert 64 * grown[1] >= size
    assert (scratch_for(10, 3) == grown).all()
    terms = int(grown[-1]) + 1
    assert scratch_for(10, terms)[-1] >= terms
    assert 64 * scratch_for(10, terms)[1] >= size


def test_a_longer_query_follows_a_shorter_one(opened):
    tokens = np.arange(400)
    snapshot = opened(rows(tokens, 500), segment_size=90)
    for count in (1, 400, 3, 399):
        matrix = rows(tokens, 500)[:count].sum(axis=0)
        from scipy import sparse

        query = Query.of(Encodings(lexical=sparse.csr_array(matrix.reshape(1, -1))), None)
        found = ALL["lexical"].search(query, snapshot, [None] * len(snapshot.segments), 1000)
        assert sorted(found.docids.tolist()) == list(range(count))
