"""BruteForce: every leg's score of every passage, from an index's stored values, by other means than the legs' own.

Dense by a float64 product of matrices, lexical by scipy, BM25 from the texts by its formula.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from m3search import Encodings, Index
from m3search.analysis.analyzer import Analyzer


class BruteForce:
    """All passages of an index in memory."""

    def __init__(self, index: Index) -> None:
        self.ids: list[str] = []
        dense, lexical, sizes, texts = [], [], [], []
        for documents, encodings in index.export(batch=512):
            self.ids += [document.id for document in documents]
            assert encodings.dense is not None
            assert encodings.lexical is not None
            dense.append(encodings.dense.astype(np.float32))
            lexical.append(encodings.lexical)
            sizes.append(np.diff(encodings.offsets))
            texts += passages_of(index, [document.id for document in documents])
        self.dense = np.concatenate(dense)
        self.lexical = sparse.vstack(lexical).tocsr().astype(np.float64)
        self.sizes = np.concatenate(sizes)
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.bm25 = BM25(texts)
        self.places = {name: number for number, name in enumerate(self.ids)}
        assert len(texts) == len(self.dense)

    def parts(self, text: str, query: Encodings) -> dict[str, NDArray[np.float64]]:
        """Leg -> f64[passages]."""
        assert query.dense is not None
        assert query.lexical is not None
        vector = query.dense[0].astype(np.float64)
        blocks = [
            self.dense[start : start + 4096].astype(np.float64) @ vector for start in range(0, len(self.dense), 4096)
        ]
        return {
            "dense": np.concatenate(blocks),
            "lexical": np.asarray(self.lexical @ query.lexical.astype(np.float64).toarray()[0]),
            "bm25": self.bm25.scores(text),
        }

    def documents(self, parts: Mapping[str, NDArray[np.float64]], weights: Mapping[str, float]) -> NDArray[np.float64]:
        """f64[documents], each the score of its best passage, -inf of one that does not match."""
        passages = sum(weight * parts[leg] for leg, weight in weights.items()) / sum(weights.values())
        there = np.flatnonzero(self.sizes)
        scores = np.full(len(self.sizes), -np.inf)
        scores[there] = np.maximum.reduceat(passages, self.starts[there])
        if "dense" not in weights:
            scores[scores <= 0] = -np.inf
        return scores


class BM25:
    """Lucene's BM25 divided by the query's upper bound, over a matrix of term frequencies."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._analyzer = Analyzer("en")
        self._terms: dict[str, int] = {}
        rows, columns, values = [], [], []
        for row, text in enumerate(texts):
            for term, count in self._analyzer.counts(text).items():
                rows.append(row)
                columns.append(self._terms.setdefault(term, len(self._terms)))
                values.append(count)
        shape = (len(texts), len(self._terms))
        self._counts = sparse.coo_array((np.array(values, float), (rows, columns)), shape=shape).tocsc()
        lengths = self._counts.sum(axis=1)
        self._norms = 1.2 * (0.25 + 0.75 * lengths / lengths.mean())

    def scores(self, query: str) -> NDArray[np.float64]:
        """f64[passages]."""
        scores, top, number = np.zeros(len(self._norms)), 0.0, len(self._norms)
        for term, times in self._analyzer.counts(query).items():
            if term in self._terms:
                place = self._terms[term]
                rows = self._counts.indices[self._counts.indptr[place] : self._counts.indptr[place + 1]]
                counts = self._counts.data[self._counts.indptr[place] : self._counts.indptr[place + 1]]
                idf = times * np.log(1 + (number - len(rows) + 0.5) / (len(rows) + 0.5))
                scores[rows] += idf * counts / (counts + self._norms[rows])
                top += idf
        return scores / top if top else scores


def passages_of(index: Index, ids: Sequence[str]) -> list[str]:
    """The text that BM25 saw of every passage of these documents, in order."""
    with index._reading() as snapshot:  # noqa: SLF001 - spans of passages that were not found have no public way out
        texts = []
        for name in ids:
            found = snapshot.find(name)
            assert found is not None
            segment, number = found
            document = snapshot.document(segment, number)
            start, stop = segment.passage_ends[number : number + 2]
            for first, end in segment.spans[int(start) : int(stop)].tolist():
                body = document.text[first:end]
                texts.append(f"{document.title}\n{body}" if document.title else body)
        return texts
