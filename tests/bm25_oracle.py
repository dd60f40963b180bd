"""Lucene's BM25 by its formula, one passage at a time: the slow oracle of the tests."""

import numpy as np

from m3search.analysis.analyzer import Analyzer


def bm25_scores(texts, query, language="en"):
    """f64[n] scores of passages, divided by the query's upper bound."""
    analyzer = Analyzer(language)
    counts = [analyzer.counts(text) for text in texts]
    lengths = [sum(count.values()) for count in counts]
    average, number = np.mean(lengths), len(counts)
    top, scores = 0.0, np.zeros(number)
    for term, times in analyzer.counts(query).items():
        frequency = sum(term in count for count in counts)
        if not frequency:
            continue
        idf = times * np.log(1 + (number - frequency + 0.5) / (frequency + 0.5))
        top += idf
        for row, count in enumerate(counts):
            tf = count.get(term, 0)
            scores[row] += idf * tf / (tf + 1.2 * (0.25 + 0.75 * lengths[row] / average))
    return scores / top if top else scores
