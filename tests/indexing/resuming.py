"""What the tests of interrupted builds share: a source, an encoder that says what it encodes, and what an index holds."""

import os
import warnings
from pathlib import Path

import numpy as np

from m3search import Document, Encoder, Index
from m3search.indexing import ingest
from m3search.indexing.chunks import ChunkSize

CHECKPOINT = Path(__file__).parents[1] / "golden" / "checkpoint"
WORDS = "the dog jumps over a lazy fox and reads zip archives of old books".split()
BLENDS = [{"dense": 1}, {"lexical": 1}, {"bm25": 1}, {"dense": 1, "lexical": 0.3, "bm25": 0.5, "colbert": 1}]
SIZE = ChunkSize(5, 10**6)
"""Of a chunk: no segment ends where one does."""


def source(count=47, seed=0):
    """Documents of a few words, some of several passages, some without any text."""
    rng = np.random.default_rng(seed)
    return [
        Document(
            f"d{number}",
            " ".join(rng.choice(WORDS, int(rng.choice([3, 8, 60])))) if number % 9 != 4 else "",
            "a title" if number % 3 == 0 and number % 9 != 4 else "",
            {"number": number},
        )
        for number in range(count)
    ]


class Logged(Encoder):
    """An encoder that writes down in a file how many texts it has encoded, and in `texts` which.

    Attributes:
        fail_at: the group at which it raises `failure` instead.
    """

    def watch(self, log, fail_at=None, failure=None):
        self.log, self.fail_at, self.failure, self.texts = log, fail_at, failure, []
        return self

    def encode_groups(self, groups, **options):
        kept = []

        def noted():
            for group in groups:
                kept.append(list(group))
                yield group

        for number, found in enumerate(super().encode_groups(noted(), **options)):
            if number == self.fail_at:
                raise self.failure
            group = kept.pop(0)
            self.texts.extend(group)
            descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(descriptor, f"{len(group)}\n".encode())
            os.close(descriptor)
            yield found


def load():
    """The small checkpoint."""
    encoder = Encoder.load(CHECKPOINT, threads=1, max_tokens=32)
    encoder.__class__ = Logged
    return encoder


def small_chunks(patch):
    """Chunks of five documents."""
    patch.setattr(ingest, "ChunkSize", type("Small", (), {"of": staticmethod(lambda *_: SIZE)}))


def build(documents, path, encoder, **options):
    options = {"colbert": "int8+bits", "segment_size": 12, "threads": 1, "progress": False} | options
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* no text")
        with Index.build(documents, path, encoder=encoder, **options) as index:
            return index.report


def held(path, encoder, blends=None):
    """All that an index says, to the last bit."""
    with Index.open(path, encoder=encoder, verify=True) as index:
        answers = [
            [
                (hit.id, hit.score, dict(hit.parts), hit.passage)
                for hit in index.search("the lazy fox", 60, weights=weights)
            ]
            for weights in blends or BLENDS
        ]
        snapshot = index._snapshot
        arrays = [
            (
                None if segment.vectors is None else segment.vectors.tobytes(),
                None if segment.tokens is None else [np.asarray(a).tobytes() for a in token_arrays(segment.tokens)],
                dict(segment.info.blobs),
                dict(segment.info.statistics),
            )
            for segment in snapshot.segments
        ]
        return answers, arrays, list(index)


def token_arrays(tokens):
    return [array for array in (tokens.codes, tokens.scales, tokens.signs, tokens.ends) if array is not None]
