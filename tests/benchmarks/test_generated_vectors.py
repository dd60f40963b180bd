"""Generated vectors: the same from run to run and from size to size, and M3-like as they promise."""

from pathlib import Path

import numpy as np
import pytest
from lexical import generated
from lexical.collection import Collection, cached, load

DOCUMENTS = 20_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("generated") / f"generated-{DOCUMENTS}"
    return cached(path, generated.VERSION, lambda place: generated.write(place, DOCUMENTS))


@pytest.fixture(scope="module")
def collection(folder: Path) -> Collection:
    return load(folder, queries=generated.QUERIES, tuning=generated.TUNING)


def test_documents_are_as_promised(collection: Collection) -> None:
    assert len(collection) == DOCUMENTS
    assert collection.vocabulary == 250_002
    assert collection.postings / DOCUMENTS == pytest.approx(70, abs=2)
    sizes = np.diff(collection.ends)
    assert 10 < sizes.std() < 25
    assert sizes.min() >= 5
    assert np.float16(0.01) <= collection.weights.min() < 0.011
    assert 0.345 < collection.weights.max() <= 0.35
    terms = collection.terms.astype(np.int64) + collection.vocabulary * np.repeat(np.arange(DOCUMENTS), sizes)
    assert (np.diff(terms) > 0).all()  # ascending within a row, none twice
    assert collection.terms.max() < collection.vocabulary


def test_terms_follow_zipf_and_topics(collection: Collection) -> None:
    frequencies = np.sort(np.bincount(collection.terms, minlength=collection.vocabulary))[::-1] / DOCUMENTS
    assert frequencies[0] > 0.9
    # from rank 10 to rank 100 a Zipf law of exponent 1.05 falls by 11
    assert 7 < frequencies[9] / frequencies[99] < 16
    assert (frequencies > 0).sum() > 150_000
    # rare words are shared by documents of one topic, which is one pair in 200
    rare = np.bincount(collection.terms, minlength=collection.vocabulary) / DOCUMENTS <= frequencies[1000]
    rows = collection.rows(0, 3000)
    rows.data[:] = rare[rows.indices]
    shared = (rows @ rows.T).toarray()[np.triu_indices(3000, 1)]
    assert np.median(shared) == 0
    assert 0.001 < (shared >= 4).mean() < 0.006


def test_queries_are_as_promised(collection: Collection) -> None:
    words = generated.GeneratedVectors().function_words
    queries = collection.queries
    assert np.mean([len(query.terms) for query in queries]) == pytest.approx(9, abs=0.2)
    assert np.mean([np.isin(query.terms, words).mean() for query in queries]) == pytest.approx(1 / 3, abs=0.03)
    for query in queries:
        assert (np.diff(query.terms.astype(np.int64)) > 0).all()
        assert (query.weights >= np.float32(0.01)).all()
        assert (query.weights <= 0.35).all()
    assert not any(np.array_equal(a.terms, b.terms) for a, b in zip(queries, collection.tuning, strict=False))


def test_function_words_weigh_less(collection: Collection) -> None:
    frequent = np.isin(collection.terms, generated.GeneratedVectors().function_words)
    assert collection.weights[frequent].mean(dtype=float) < 0.4 * collection.weights[~frequent].mean(dtype=float)
    assert 0.1 < frequent.mean() < 0.4


def test_the_same_seed_gives_the_same_and_a_smaller_size_the_beginning(collection: Collection, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    generated.write(small, 500)
    postings = int(collection.ends[500])
    assert np.array_equal(np.load(small / "ends.npy"), collection.ends[:501])
    assert np.array_equal(np.load(small / "terms.npy"), collection.terms[:postings])
    assert np.array_equal(np.load(small / "weights.npy"), collection.weights[:postings])
    other = next(generated.GeneratedVectors(seed=1).blocks(500))
    assert not np.array_equal(other.terms[:1000], collection.terms[:1000])


def test_several_blocks_are_one_collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generated, "BLOCK", 300)
    generated.write(tmp_path, 700)
    ends, terms = np.load(tmp_path / "ends.npy"), np.load(tmp_path / "terms.npy")
    assert len(ends) == 701
    assert len(terms) == len(np.load(tmp_path / "weights.npy")) == ends[-1]
    blocks = list(generated.GeneratedVectors().blocks(700))
    assert [len(block.sizes) for block in blocks] == [300, 300, 100]
    assert np.array_equal(np.concatenate([block.terms for block in blocks]), terms)
    assert not np.array_equal(blocks[0].terms[:1000], blocks[1].terms[:1000])


def test_a_collection_is_made_again_only_if_it_is_not_whole_or_of_another_version(folder: Path, tmp_path: Path) -> None:
    made = []

    def make(place: Path) -> dict[str, object]:
        made.append(place)
        if len(made) == 1:
            raise KeyboardInterrupt
        return generated.write(place, 10)

    path = tmp_path / "cached"
    with pytest.raises(KeyboardInterrupt):
        cached(path, 1, make)
    for version, count in ((1, 2), (1, 2), (2, 3)):
        cached(path, version, make)
        assert len(made) == count
    cached(path, 2, make, fresh=True)
    assert len(made) == 4
    assert len(load(path, queries=5, tuning=3).queries) == 5
