"""Seismic: the PyPI package pyseismic-lsr (Rust), approximate: its fastest settings that reach a recall, at every k.

The index for large vocabularies that takes and gives numbers (`SeismicIndexRawLV`) is the fastest of its classes from Python;
its file format is a count, then for each document a length, u32 terms and f32 weights. Settings of a search are chosen on the
tuning queries.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexical.collection import Collection, Query
from lexical.engine import Opened, folder_bytes, installed
from lexical.truth import Truth, kth_scores, recall

RECALLS = (0.95, 0.98, 0.99)
BUILD = {
    "n_postings": 2000,
    "centroid_fraction": 0.1,
    "min_cluster_size": 2,
    "summary_energy": 0.4,
    "max_fraction": 3.0,
}
"""Lists of at most n_postings x max_fraction: with four times as many, recall .98 of the top 1000 took twice as long at 100,000
documents, and the top 10 and the top 100 were no faster."""
QUERY_CUTS = (4, 6, 8, 10, 12, 20, 40)
HEAP_FACTORS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.0)

_FILE = "index"
_SUFFIX = ".index.seismic"


@dataclass(frozen=True, slots=True)
class Setting:
    """Of a search: how many terms are walked through, how eagerly blocks are skipped, whether the first list's are sorted."""

    query_cut: int
    heap_factor: float
    sorted: bool


class Seismic:
    """One index, and an engine for each recall."""

    name = "seismic"
    kept = True

    def version(self) -> str:
        """Of pyseismic-lsr."""
        return installed("pyseismic-lsr")

    def build(self, collection: Collection, folder: Path) -> dict[str, Any]:
        """From a file in its own format."""
        import seismic

        source = folder / "documents.bin"
        _write(collection, source)
        index = seismic.SeismicIndexRawLV.build(str(source), **BUILD)
        source.unlink()
        index.save(str(folder / _FILE))
        return dict(BUILD)

    def open(self, collection: Collection, folder: Path, truth: Truth, ks: Sequence[int]) -> Opened:
        """An engine for each recall; where no setting reaches it at some k, the engine answers as well as it can."""
        import seismic

        path = folder / _FILE  # some versions add a suffix to the name that `save` was given
        index = seismic.SeismicIndexRawLV.load(str(path if path.exists() else path.with_suffix(_SUFFIX)))
        chosen = {k: _tuned(index, collection.tuning, truth, k) for k in ks}
        engines, notes = [], {}
        for place, target in enumerate(RECALLS):
            name = f"seismic at recall {target:g}"
            engines.append(_Search(name, index, {k: chosen[k][place][0] for k in ks}))
            notes[name] = {
                str(k): {**_as_dict(chosen[k][place][0]), "tuning_recall": round(chosen[k][place][1], 4)} for k in ks
            }
        return Opened(engines, folder_bytes(folder), notes=notes)


class _Search:
    def __init__(self, name: str, index: Any, settings: dict[int, Setting]) -> None:
        self.name = name
        self._index = index
        self._settings = settings

    def prepare(self, query: Query) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        return query.terms.astype(np.int32), query.weights

    def search(self, prepared: tuple[NDArray[np.int32], NDArray[np.float32]], k: int) -> list[tuple[float, int]]:
        return _ask(self._index, prepared, k, self._settings[k])

    def answer(self, found: list[tuple[float, int]]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        return np.array([one[1] for one in found], np.int64), np.array([one[0] for one in found], np.float64)


def _ask(
    index: Any, prepared: tuple[NDArray[np.int32], NDArray[np.float32]], k: int, setting: Setting
) -> list[tuple[float, int]]:
    found: list[tuple[float, int]] = index.search(
        *prepared, k, setting.query_cut, setting.heap_factor, 0, setting.sorted
    )
    return found


def _tuned(index: Any, queries: Sequence[Query], truth: Truth, k: int) -> list[tuple[Setting, float]]:
    """For each recall the fastest setting that reaches it, or the one of the highest recall; with its recall."""
    prepared = [(query.terms.astype(np.int32), query.weights) for query in queries]
    scores = [truth.scores(query) for query in queries]
    wanted = [kth_scores(one, [k])[0] for one in scores]
    tried: list[tuple[float, float, Setting]] = []
    for setting in (
        Setting(cut, factor, in_order) for cut in QUERY_CUTS for factor in HEAP_FACTORS for in_order in (True, False)
    ):
        started = time.process_time()
        found = [_ask(index, one, k, setting) for one in prepared]
        seconds = time.process_time() - started
        ids = [np.array([one[1] for one in answer], np.int64) for answer in found]
        reached = [recall(*one) for one in zip(ids, scores, wanted, strict=True)]
        tried.append((seconds, float(np.mean(reached)), setting))
    chosen = []
    for target in RECALLS:
        good = [one for one in tried if one[1] >= target]
        best = min(good, key=lambda one: one[0]) if good else max(tried, key=lambda one: one[1])
        chosen.append((best[2], best[1]))
    return chosen


def _as_dict(setting: Setting) -> dict[str, Any]:
    return {"query_cut": setting.query_cut, "heap_factor": setting.heap_factor, "sorted": setting.sorted}


def _write(collection: Collection, path: Path) -> None:
    """Documents in the format that the raw classes read."""
    with path.open("wb") as file:
        file.write(np.uint32(len(collection)).tobytes())
        for _, block in collection.blocks():
            sizes = np.diff(block.indptr)
            rows = len(sizes)
            words = np.empty(rows + 2 * len(block.indices), "<u4")
            # document d begins after d lengths and two words for every posting before it
            begins = np.arange(rows) + 2 * block.indptr[:-1]
            words[begins] = sizes
            within = np.arange(len(block.indices)) - np.repeat(block.indptr[:-1], sizes)
            terms = np.repeat(begins + 1, sizes) + within
            words[terms] = block.indices
            words[terms + np.repeat(sizes, sizes)] = block.data.view(np.uint32)
            file.write(words.tobytes())
