"""The hybrid benchmark in its quick mode, without the peers that are not dependencies; overlap, joins, and verdicts."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import BENCHMARKS
from hybrid import truth, world
from hybrid.brief import brief
from hybrid.collection import DENSE, LEXICAL, Collection, K, load
from hybrid.encoded import half
from hybrid.engine import BLEND, FUSION, ZERO_FILL, Setting, label
from hybrid.engines.joining import completed, zero_filled
from hybrid.engines.ours import flat_steps
from hybrid.frontier import frontier
from hybrid.targets import BY_HAND, NESTED, lines
from scipy import sparse

COUNT, DIM = 2000, 32
ENGINES = ["m3search flat", "m3search hnsw", "m3search ivf", "FAISS + scipy", "exhaustive"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark")
    command = [sys.executable, str(BENCHMARKS / "hybrid.py"), "--quick", "--sizes", f"{COUNT}x{DIM}", "--no-plot"]
    command += ["--queries", "8", "--tuning", "2", "--passes", "1", "--cache", str(folder / "cache")]
    command += ["--out", str(folder / "results" / "hybrid")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert (folder / "results" / "hybrid.md").read_text() == done.stdout.removesuffix("\n")
    return folder / "results"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    folder = tmp_path_factory.mktemp("collection")
    about = {"version": 0, **world.write(folder, 300, 16)}
    (folder / "about.json").write_text(json.dumps(about))
    truth.write(folder)
    return load(folder, 20, 5)


def all_blends(collection: Collection) -> np.ndarray:
    queries = sparse.dok_array((len(collection.queries), collection.vocabulary))
    for row, query in enumerate(collection.queries):
        for term, weight in zip(query.terms, query.weights, strict=True):
            queries[row, term] = weight
    lexical = (queries.tocsr() @ collection.rows(0, len(collection)).astype(np.float64).T).toarray()
    dense = np.stack([query.dense for query in collection.queries]).astype(np.float64) @ collection.vectors.T.astype(
        np.float64
    )
    return (DENSE * dense + LEXICAL * lexical) / (DENSE + LEXICAL)


def test_everything_is_found_and_timed(results: Path) -> None:
    (found,) = json.loads((results / "hybrid.json").read_text())["collections"]
    engines = found["engines"]
    assert found["about"]["documents"] == COUNT
    assert list(dict.fromkeys(row["peer"] for row in engines.values())) == ENGINES
    assert found["missing"] == {}
    for row in engines.values():
        assert row["bytes"] > COUNT * DIM * 4
        for point in row["points"].values():
            assert 0 < point["overlap"] <= 1
            assert 0 < point["median_ms"] <= point["p95_ms"]
    best = {name: max(point["overlap"] for point in row["points"].values()) for name, row in engines.items()}
    assert best["m3search flat"] == best["exhaustive"] == 1
    assert best["FAISS + scipy, completed"] > 0.8
    assert engines["m3search flat"]["points"]["as it is"]["guarantees"] == {"exact": 1.0}
    assert "as it is" in engines["m3search hnsw"]["points"]
    assert engines["FAISS + scipy, zero-filled"]["kind"] == ZERO_FILL


def test_the_tables_are_well_formed(results: Path) -> None:
    text = (results / "hybrid.md").read_text()
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 3
    for table in tables:
        assert len({line.count("|") for line in table}) == 1, table
    assert "not its size" in tables[0][2]
    assert "missed" not in text


def test_the_same_seed_gives_the_same_documents_and_the_same_terms_whatever_the_width(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(world, "BLOCK", 500)
    first, again, wider, other = (world.World(dim, seed) for dim, seed in ((8, 3), (8, 3), (12, 3), (8, 4)))
    made = first.documents(1)
    assert all(np.array_equal(one, two) for one, two in zip(made, again.documents(1), strict=True))
    assert all(np.array_equal(one, two) for one, two in zip(made[1:], wider.documents(1)[1:], strict=True))
    assert not np.array_equal(made[0], other.documents(1)[0])
    vectors, sizes, terms, weights = made
    assert vectors.shape == (world.BLOCK, 8)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert sizes.sum() == len(terms) == len(weights)
    assert weights.dtype == np.float16
    assert weights.min() > 0
    (query, *_), (same, *_) = first.asked(3, 0), again.asked(3, 0)
    assert np.array_equal(query.terms, same.terms)
    assert np.array_equal(query.weights, same.weights)
    assert (np.diff(query.terms.astype(np.int64)) > 0).all()


def test_a_smaller_collection_is_the_beginning_of_a_larger_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "BLOCK", 150)
    for count in (50, 200):
        (tmp_path / str(count)).mkdir()
        world.write(tmp_path / str(count), count, 8)
    few, many = (
        [np.load(tmp_path / str(count) / f"{name}.npy") for name in ("vectors", "ends", "terms", "weights")]
        for count in (50, 200)
    )
    assert len(few[0]) == len(few[1]) - 1 == 50
    for one, other in zip(few, many, strict=True):
        assert np.array_equal(one, other[: len(one)])


def test_both_sides_are_about_the_same_topics(small: Collection) -> None:
    """What has a high score on one side tends to have it on the other, or a blend would mean nothing."""
    folder = small.folder
    rows = small.rows(0, len(small)).astype(np.float64)
    dense, lexical = (np.asarray(matrix) for matrix in (small.vectors @ small.vectors.T, (rows @ rows.T).toarray()))
    apart = ~np.eye(len(small), dtype=bool)
    nearest = np.where(apart, dense, -1).argmax(axis=1)
    assert lexical[np.arange(len(small)), nearest].mean() > 1.3 * lexical[apart].mean()
    about = json.loads((folder / "about.json").read_text())
    assert 0 < about["lexical alone"] < about["dense alone"] < 1


def test_the_truth_is_that_of_every_document(small: Collection) -> None:
    blends = all_blends(small)
    assert small.smallest[: len(blends)] == pytest.approx(np.sort(blends, axis=1)[:, -K], abs=1e-12)
    everyone = np.arange(len(small))
    for query, expected in zip(small.queries, blends, strict=True):
        assert small.blend(query, everyone) == pytest.approx(expected, abs=1e-12)


def test_overlap_counts_ties_and_no_document_twice(small: Collection) -> None:
    query, smallest = small.queries[0], small.smallest[0]
    order = np.argsort(-all_blends(small)[0])
    assert small.overlap(query, smallest, order[:K]) == 1
    assert small.overlap(query, smallest, order[K : 2 * K]) == 0
    assert small.overlap(query, smallest, np.concatenate([order[:4], order[20:26]])) == 0.4
    assert small.overlap(query, smallest, np.repeat(order[:1], K)) == 0.1
    assert small.overlap(query, smallest, order[: K // 2]) == 0.5
    assert small.overlap(query, smallest, order[20:40]) == 0, "no more than K are looked at"
    # a collection in which the next document ties at rank K: either is right
    tie = float(small.blend(query, order[K : K + 1])[0])
    assert small.overlap(query, tie, np.concatenate([order[: K - 1], order[K : K + 1]])) == 1


def test_the_compiled_joins_do_what_they_say(small: Collection) -> None:
    shares = np.array([DENSE, LEXICAL], np.float32) / np.float32(DENSE + LEXICAL)
    rows = small.rows(0, len(small))
    table, seen, sums = np.zeros(small.vocabulary, np.float32), np.zeros(300, np.uint32), np.zeros(300, np.float32)
    rng = np.random.default_rng(0)
    for stamp, (query, blends) in enumerate(zip(small.queries, all_blends(small), strict=True), start=1):
        dense, lexical = rng.permutation(300)[:30], rng.permutation(300)[:20]
        best, scores = np.empty(K, np.int64), np.empty(K, np.float32)
        count = completed(
            np.append(dense, -1), lexical, query.dense, query.terms, query.weights, np.array(small.vectors),
            rows.indptr.astype(np.int64), rows.indices, rows.data, table, seen, stamp, shares, best, scores,
        )  # fmt: skip
        candidates = np.union1d(dense, lexical)
        expected = candidates[np.argsort(-blends[candidates])][:K]
        assert count == K
        assert np.array_equal(best, expected)
        assert scores == pytest.approx(blends[expected], abs=1e-6)
        assert not table.any()

        dense_scores, lexical_scores = rng.random(30, np.float32), rng.random(20, np.float32)
        count = zero_filled(
            np.append(dense, -1), np.append(dense_scores, 0), lexical, lexical_scores, sums, shares, best, scores
        )
        summed = np.zeros(300)
        summed[dense] += shares[0] * dense_scores
        summed[lexical] += shares[1] * lexical_scores
        assert count == K
        assert np.array_equal(best, np.argsort(-summed)[:K])
        assert not sums.any()
    few = zero_filled(dense[:2], dense_scores[:2], lexical[:0], lexical_scores[:0], sums, shares, best, scores)
    assert few == 2


def test_weights_become_half_precision_and_what_vanishes_goes() -> None:
    made = half(sparse.csr_array(np.array([[0.3, 1e-9, 0], [0, 0, 2.0]], np.float32)))
    assert made.indices.tolist() == [0, 2]
    assert made.data.tolist() == [float(np.float16(0.3)), 2.0]


def test_steps_are_taken_apart() -> None:
    assert flat_steps({"legs": {"dense": 0.5, "lexical": 0.25}, "blend": 1}) == {
        "dense": 0.5,
        "lexical": 0.25,
        "blend": 1.0,
    }
    assert flat_steps(None) == {}


class Pretended:
    """Finds as many of the best as its setting says, without looking."""

    name, kind = "pretended", BLEND
    settings = (
        {},
        {"finds": 5},
        {"finds": 9},
        {"finds": 8},
        {"finds": 9, "again": 1},
        *({"finds": 5, "again": n} for n in range(9)),
    )

    def __init__(self, collection: Collection) -> None:
        self._best = {id(query): np.argsort(-collection.blend(query, np.arange(300))) for query in collection.tuning}

    def prepare(self, query: Any, setting: Setting) -> Any:
        return self._best[id(query)][: setting.get("finds", 2)]

    def search(self, prepared: Any) -> Any:
        return prepared

    def answer(self, found: Any) -> Any:
        return found


def test_the_frontier_keeps_the_engine_as_it_is_and_the_most_precise(small: Collection) -> None:
    kept = frontier(Pretended(small), small)
    assert {} in kept
    assert max(setting.get("finds", 2) for setting in kept) == 9
    assert {"finds": 5} not in kept, "it reaches no goal"
    assert label({"finds": 9, "again": 1}) == "finds 9, again 1"


def test_all_of_few_settings_are_kept(small: Collection) -> None:
    few = Pretended(small)
    few.settings = few.settings[:5]
    assert frontier(few, small) == list(few.settings)


def row(kind: str, points: dict[str, tuple[float, float]], **more: float) -> dict[str, Any]:
    made = {name: {"overlap": overlap, "median_ms": ms} for name, (overlap, ms) in points.items()}
    if more:
        made["as it is"] |= more
    return {"kind": kind, "points": made}


def measured(documents: int, engines: dict[str, Any]) -> dict[str, Any]:
    return {"about": {"documents": documents, "title": f"{documents}"}, "engines": engines}


def test_verdicts_are_given_at_the_asked_size() -> None:
    engines = {
        "m3search flat": row(BLEND, {"as it is": (1.0, 6.0)}, overhead_ms=0.25),
        "m3search hnsw": row(BLEND, {"as it is": (0.97, 0.4), "effort 80": (0.9995, 0.5)}, overhead_ms=0.31),
        NESTED: row(BLEND, {"ef 16": (0.9, 0.7), "ef 64": (0.9993, 1.2), "ef 128": (1.0, 1.5)}),
        BY_HAND: row(BLEND, {"lists 8": (0.96, 0.5), "lists 64": (0.998, 0.9)}),
        "qdrant-edge, RRF": row(FUSION, {"ef 16": (0.5, 0.1), "ef 64": (0.6, 0.2)}),
    }
    small = {line.what: line.found for line in lines([measured(100_000, engines)])}
    assert small == {
        f"{NESTED} / ours, CPU p50 at overlap 0.999, 100000": (
            "2.40 (reached): 1.200 ms at 0.9993 against 0.500 ms at 0.9995 with m3search hnsw"
        ),
        f"{NESTED} / ours, CPU p50 at overlap 1.000, 100000": (
            "0.25 (missed): 1.500 ms at 1.0000 against 6.000 ms at 1.0000 with m3search flat"
        ),
        f"{BY_HAND} / ours, CPU p50 at overlap 0.999, 100000": (
            "1.80 (missed): 0.900 ms at 0.9980 against 0.500 ms at 0.9995 with m3search hnsw"
        ),
        f"{BY_HAND} / ours, CPU p50 at overlap 1.000, 100000": (
            "0.15 (missed): 0.900 ms at 0.9980 against 6.000 ms at 1.0000 with m3search flat"
        ),
        "overlap of ours, as it is, less that of every zero-fill and fusion, 100000": (
            "+0.3700 before qdrant-edge, RRF (reached)"
        ),
        "a search without legs and completion, wall ms, the largest median of ours, 100000": (
            "0.310 with m3search hnsw (missed)"
        ),
    }
    large = {line.what: line.found for line in lines([measured(1_000_000, engines)])}
    assert large[f"{BY_HAND} / ours with an approximate dense index, CPU p50 at equal or better overlap, 1000000"] == (
        "1.80 (missed): 0.900 ms at 0.9980 against 0.500 ms at 0.9995 with m3search hnsw"
    )
    elsewhere = lines([measured(50_000, engines)])
    assert len(elsewhere) == 6
    assert all("not its size" in line.found for line in elsewhere)


def test_the_brief_has_an_engine_a_line_and_a_collection_a_column() -> None:
    fusion = row(FUSION, {"ef 16": (0.5, 0.1)})
    both = row(BLEND, {"as it is": (0.97, 0.4), "effort 80": (0.9995, 12.5)})
    record = {"collections": [measured(10, {"m3search hnsw": both}), measured(20, {"RRF": fusion})]}
    assert brief(record).splitlines()[2:] == [
        "| **m3search hnsw** | 0.400 / 12.5 / 12.5; 0.9995 |  |",
        "| RRF |  | - / - / -; 0.5000 |",
    ]


def test_what_ours_does_not_find_is_missed() -> None:
    engines = {
        "m3search hnsw": row(BLEND, {"as it is": (0.97, 0.4)}),
        BY_HAND: row(BLEND, {"lists 64": (0.998, 0.9)}),
    }
    (most, all_), (large,) = (lines([measured(count, engines)]) for count in (100_000, 1_000_000))
    assert most.found == "ours does not find 0.999 (missed)"
    assert all_.found == "ours does not find 1.000 (missed)"
    assert large.found == "ours does not find 0.9980 (missed)"
    assert lines([measured(100_000, {BY_HAND: engines[BY_HAND]})]) == []


def test_a_peer_that_is_not_installed_is_named(tmp_path: Path) -> None:
    if importlib.util.find_spec("impact_index"):
        pytest.skip("impact-index is installed here")
    command = [sys.executable, str(BENCHMARKS / "hybrid.py"), "--quick", "--sizes", "200x8", "--no-plot"]
    command += ["--engines", "FAISS + impact-index", "exhaustive", "--queries", "3", "--passes", "1", "--memory"]
    command += ["--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "hybrid")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads((tmp_path / "hybrid.json").read_text())["collections"]
    assert found["missing"] == {"FAISS + impact-index": "not installed (pip install impact-index)"}
    assert "| FAISS + impact-index | not installed (pip install impact-index) |" in done.stdout
    assert found["engines"]["exhaustive"]["memory"]["rss"] > 0


def test_a_size_that_is_none_is_refused() -> None:
    command = [sys.executable, str(BENCHMARKS / "hybrid.py"), "--sizes", "many"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "'many' is no size: give documents (from 10) and width, such as 100000x384" in done.stderr
