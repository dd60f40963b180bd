"""Chunks: how many documents are encoded, committed and held in memory at a time.

Imports the source's records and analysis. Invariant: where a chunk ends depends on nothing but the documents since the last one
and on the encoder, so a build that begins again at the end of any of them makes the same chunks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from m3search.analysis.passages import Passage
    from m3search.indexing.sources.record import Accepted
    from m3search.records import Document

DOCUMENTS = 512
"""Of a chunk at most; of more, some are written at a time."""

_CHARACTERS = 256_000  # some 60,000 tokens, for which a large model on a CPU takes minutes: that is what a kill costs
_TOKEN_BYTES = 512 * 2**20  # of token vectors in fp32, where every character is a token; of English, a quarter
_TOKENS_A_DOCUMENT = 32  # a large batch, as a GPU takes it, wants as many short texts
_CHARACTERS_A_TOKEN = 16  # four batches of English, so that texts of one length find each other


@dataclass(frozen=True, slots=True)
class Chunk:
    """Documents with their passages.

    Attributes:
        accepted: the documents, and where they come from.
        passages: of each.
    """

    accepted: Sequence[Accepted]
    passages: Sequence[Sequence[Passage]]

    @property
    def documents(self) -> list[Document]:
        """Without where they come from."""
        return [accepted.document for accepted in self.accepted]

    @property
    def contents(self) -> list[str]:
        """What the encoder sees, passage by passage."""
        return [passage.content for found in self.passages for passage in found]


@dataclass(frozen=True, slots=True)
class ChunkSize:
    """When a chunk is large enough.

    Attributes:
        documents: at most.
        characters: so many or, with the last document, more.
    """

    documents: int
    characters: int

    @classmethod
    def of(cls, batch_tokens: int, colbert_dim: int | None) -> ChunkSize:
        """For an encoder.

        Args:
            batch_tokens: that go through it at once.
            colbert_dim: width of the token vectors that are wanted of it; None: none are.
        """
        characters = max(_CHARACTERS, _CHARACTERS_A_TOKEN * batch_tokens)
        if colbert_dim is not None:
            characters = min(characters, _TOKEN_BYTES // (4 * colbert_dim))
        return cls(max(DOCUMENTS, batch_tokens // _TOKENS_A_DOCUMENT), characters)

    def cut(self, accepted: Iterable[Accepted]) -> Iterator[list[Accepted]]:
        """Documents in chunks; nothing is read ahead of the chunk that is asked for."""
        chunk: list[Accepted] = []
        characters = 0
        for one in accepted:
            chunk.append(one)
            characters += len(one.document.content)
            if len(chunk) >= self.documents or characters >= self.characters:
                yield chunk
                chunk, characters = [], 0
        if chunk:
            yield chunk
