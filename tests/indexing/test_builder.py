"""The pipeline of a build: how much it encodes at a time."""

from pathlib import Path

import pytest

from m3search import Encoder
from m3search.indexing import chunks
from m3search.indexing.build_config import build_config
from m3search.indexing.builder import Builder
from m3search.storage import DenseSettings, IndexWriter

CHECKPOINT = Path(__file__).parents[1] / "golden" / "checkpoint"


class Watched:
    """An encoder that notes the bytes of the token vectors that it gives at a time."""

    def __init__(self, encoder):
        self.encoder = encoder
        self.given = []
        self.room, self.token_spans, self.identity = encoder.room, encoder.token_spans, encoder.identity
        self.batch_tokens = encoder.batch_tokens
        self.recommended_weights = encoder.recommended_weights

    def encode_groups(self, groups, **outputs):
        for found in self.encoder.encode_groups(groups, **outputs):
            self.given.append(0 if found.colbert is None else found.colbert.nbytes)
            yield found


@pytest.mark.parametrize("codec", ["int8+bits", None])
def test_token_vectors_are_written_before_many_of_them_are_there(tmp_path, monkeypatch, codec):
    monkeypatch.setattr(chunks, "_TOKEN_BYTES", 200_000)
    watched = Watched(Encoder.load(CHECKPOINT, threads=1))
    dense = DenseSettings.of("flat")
    config = build_config(watched, bm25=False, colbert=codec, dense=dense, given=False, segment_size=1000)
    writer = IndexWriter.for_build(tmp_path / "i", overwrite=False)
    texts = [f"a text of some words, the one with number {number}" for number in range(60)]
    build = Builder(writer, config, encoder=watched, colbert=codec is not None, skip=False, progress=lambda _: None)
    build.run(texts, None)
    writer.close()
    if codec is None:
        assert watched.given == [0]
    else:
        assert len(watched.given) > 2
        assert 0 < max(watched.given) < 200_000
