"""Segment: one segment of a snapshot, ready to be searched.

Owns the views of a segment's arrays and files; imports the layouts and the manifest. Invariant: it is immutable but for what
is derived once from its own bytes, and all of it is the state of one generation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.errors import CorruptionError
from m3search.filtering import FieldType
from m3search.storage.array_file import read_arrays
from m3search.storage.block_postings import BLOCK_ARRAYS
from m3search.storage.codec import check_ends, checksum, unpack_array
from m3search.storage.column_writer import Columns
from m3search.storage.columns import SegmentColumns
from m3search.storage.dense_index import FAISS_SUFFIX, DenseIndex, open_dense_index
from m3search.storage.keys import array_key
from m3search.storage.postings import BM25_ARRAYS, LEXICAL_ARRAYS, Field, inverted_anew
from m3search.storage.segment_writer import HASH_BYTES, id_hash
from m3search.storage.token_vectors import TokenVectors, files_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.storage.directory import Directory
    from m3search.storage.manifest import IndexConfig, SegmentInfo

_MANY = 64

LIVE = "live"
"""The blob of a segment's live documents: packed bits, least significant first; absent while none is deleted."""


class Segment:
    """Arrays of one segment.

    Attributes:
        info: what the manifest says of it.
        base: number of its first passage in the snapshot.
        vectors: f32[passages, dim] mapped from its file, or None.
        dense_index: proposes from the vectors, approximately; None: they are searched exhaustively.
        tokens: ColBERT vectors, or None.
        files: suffix -> the whole mapped file.
        fields: "lexical" and "bm25" as the index has them.
        live: bool[documents], or None while all are alive.
        columns: of the metadata; None: an earlier version wrote none. `Snapshot.columns` gives them in any case.
    """

    def __init__(
        self,
        info: SegmentInfo,
        config: IndexConfig,
        base: int,
        directory: Directory,
        get: Callable[[bytes], memoryview | None],
        *,
        verify: bool = False,
    ) -> None:
        self.info = info
        self.base = base
        self._get = get
        self._verify = verify
        self.vectors: NDArray[np.float32] | None = None
        self.dense_index: DenseIndex | None = None
        self.tokens: TokenVectors | None = None
        self.files: dict[str, memoryview] = {}
        self.fields: dict[str, Field] = {}
        if config.dense_dim is not None:
            self.vectors = self._file(directory, "vectors")["vectors"]
            if self.vectors.shape != (info.passages, config.dense_dim):
                raise CorruptionError(
                    f"{info.file_name('vectors')} holds {self.vectors.shape} vectors, should hold "
                    f"{(info.passages, config.dense_dim)}: restore the index or build it again"
                )
            if FAISS_SUFFIX in info.files:
                self.dense_index = self._dense_index(directory, config.dense_dim)
        if config.colbert_dim is not None:
            codec = config.colbert_codec
            arrays = {
                name: array for suffix in files_of(codec) for name, array in self._file(directory, suffix).items()
            }
            self.tokens = TokenVectors(arrays, info.passages, config.colbert_dim, codec, info.file_name("colbert"))
        if config.vocab_size is not None:
            self.fields["lexical"] = self._field("lexical", LEXICAL_ARRAYS, config)
        if config.bm25 is not None:
            self.fields["bm25"] = self._field("bm25", BM25_ARRAYS, config)
        self._ids = self._array("ids")
        self._id_ends: NDArray[np.int64] = self._array("id_ends")
        self._id_hashes = self._array("id_hashes")
        self._id_order = self._array("id_order")
        self.passage_ends: NDArray[np.int64] = self._array("passage_ends")
        self.spans: NDArray[np.uint32] = self._array("spans")
        self._check()
        self.live = self._live()
        self.columns = self._columns()

    def _array(self, name: str) -> NDArray[Any]:
        where = f"array {name!r} of segment {self.info.uuid}"
        key = array_key(self.info.key, name)
        blob = self._get(key)
        if blob is None:
            raise CorruptionError(f"{where} is missing: restore the index or build it again")
        if name in self.info.blobs and len(blob) != self.info.blobs[name]:
            raise CorruptionError(
                f"{where} has {len(blob):,} bytes, should have {self.info.blobs[name]:,}: "
                f"restore the index or build it again"
            )
        return unpack_array(blob, key, where, verify=self._verify or name == LIVE)

    def _field(self, name: str, arrays: tuple[str, ...], config: IndexConfig) -> Field:
        older = any(f"{name}.{key}" not in self.info.blobs for key in BLOCK_ARRAYS)  # of format 1 or 2
        views = {key: self._array(f"{name}.{key}") for key in arrays if not (older and key in BLOCK_ARRAYS)}
        if older:
            views = inverted_anew(views, *((config.bm25["k1"], config.bm25["b"]) if config.bm25 else (0.0, 0.0)))
        return Field(views, self.info.passages, f"field {name!r} of segment {self.info.uuid}")

    def _file(self, directory: Directory, suffix: str) -> Mapping[str, NDArray[Any]]:
        name = self.info.file_name(suffix)
        if suffix not in self.info.files:
            raise CorruptionError(f"the manifest names no file {name}: restore the index or build it again")
        data = self.files[suffix] = directory.map(name, self.info.files[suffix].size)
        if self._verify and checksum(data) != self.info.files[suffix].checksum:
            raise CorruptionError(
                f"{directory.path / name} does not match its checksum: restore the index or build it again"
            )
        return read_arrays(data, name)

    def _dense_index(self, directory: Directory, dim: int) -> DenseIndex:
        info, name = self.info.files[FAISS_SUFFIX], self.info.file_name(FAISS_SUFFIX)
        found = open_dense_index(directory, name, info, self.info.passages, dim, verify=self._verify)
        self.files[FAISS_SUFFIX] = found.data
        return found

    def _check(self) -> None:
        documents, passages = self.info.documents, self.info.passages
        where = f"segment {self.info.uuid}"
        check_ends(self._id_ends, documents, len(self._ids), where)
        check_ends(self.passage_ends, documents, passages, where)
        shapes = (self._id_order.shape, self._id_hashes.shape, self.spans.shape)
        if shapes != ((documents,), (documents, HASH_BYTES), (passages, 2)):
            raise CorruptionError(f"the arrays of {where} do not fit together: restore the index or build it again")

    def _live(self) -> NDArray[np.bool_] | None:
        if not self.info.deleted:
            return None
        bits = self._array(LIVE)
        live = np.unpackbits(bits, count=self.info.documents, bitorder="little").astype(bool)
        if len(bits) != -(-self.info.documents // 8) or int((~live).sum()) != self.info.deleted:
            raise CorruptionError(
                f"the live documents of segment {self.info.uuid} are not as many as the manifest says: "
                f"restore the index or build it again"
            )
        return live

    def _columns(self) -> SegmentColumns | None:
        info = self.info
        if info.fields is None:
            return None
        where = f"segment {info.uuid}"
        try:
            types = {name: FieldType.of(text) for name, text in info.fields.items()}
        except (AttributeError, ValueError) as error:
            raise CorruptionError(
                f"the manifest names no fields of {where}: restore the index or build it again"
            ) from error

        arrays = {name: self._array(name) for name in ("meta", "meta_table")}
        columns = SegmentColumns(Columns(types, info.fields_complete, arrays), info.documents, where)
        if self._verify:
            for name in columns:
                columns[name]
        return columns

    @cached_property
    def packed_live(self) -> NDArray[np.uint8] | None:
        """The living passages as packed bits, or None while all are alive."""
        return None if self.live_passages is None else np.packbits(self.live_passages, bitorder="little")

    @cached_property
    def live_passages(self) -> NDArray[np.bool_] | None:
        """bool[passages], or None while all are alive."""
        return None if self.live is None else np.repeat(self.live, np.diff(self.passage_ends))

    @cached_property
    def bm25_frequencies(self) -> NDArray[np.int64]:
        """i64[terms]: how many live passages hold each of BM25's terms."""
        field = self.fields["bm25"]
        frequencies = field.blocks.arrays.frequencies.astype(np.int64)
        if self.live_passages is not None:
            _, dead, _ = field.gather(np.flatnonzero(~self.live_passages))
            frequencies -= np.bincount(dead, minlength=field.size)
        return frequencies

    @cached_property
    def bm25_prefixes(self) -> NDArray[np.uint64]:
        """u64[terms]: the first bytes of BM25's terms, see `term_lookup.prefixes_of`."""
        from m3search.storage.term_lookup import prefixes_of

        field = self.fields["bm25"]
        assert field.term_ends is not None
        return prefixes_of(field.terms, field.term_ends)

    @cached_property
    def documents_of(self) -> NDArray[np.int64]:
        """i64[passages]: the document of each passage."""
        return np.repeat(np.arange(self.info.documents), np.diff(self.passage_ends))

    @cached_property
    def one_passage_each(self) -> bool:
        """Whether every document is one passage, so that both have the same number."""
        return self.info.documents == self.info.passages and bool((np.diff(self.passage_ends) == 1).all())

    def documents_at(self, passages: NDArray[np.int64]) -> NDArray[np.int64]:
        """The documents i64[n] of these passages."""
        return passages if self.one_passage_each else self.documents_of[passages]

    def passages_of(self, documents: NDArray[np.int64]) -> NDArray[np.int64]:
        """All passages of these documents, document by document."""
        starts = self.passage_ends[documents]
        sizes = self.passage_ends[documents + 1] - starts
        return _ranges(starts, sizes)

    def id_of(self, document: int) -> str:
        """The user's id of a document."""
        return self._ids[self._id_ends[document] : self._id_ends[document + 1]].tobytes().decode()

    def ids_of(self, documents: NDArray[np.int64]) -> list[str]:
        """The users' ids of documents i64[n]; many are faster than one by one."""
        if len(documents) < _MANY:
            stops = self._id_ends[documents + 1].tolist()
            ids = self._ids.data
            return [str(ids[s:e], "utf-8") for s, e in zip(self._id_ends[documents].tolist(), stops, strict=True)]
        starts = self._id_ends[documents]
        sizes = self._id_ends[documents + 1] - starts
        encoded = self._ids[_ranges(starts, sizes)].tobytes()
        text = encoded.decode()
        ends = [0, *np.cumsum(sizes).tolist()]
        if len(text) == len(encoded):  # a byte is a character
            return [text[start:end] for start, end in pairwise(ends)]
        return [encoded[start:end].decode() for start, end in pairwise(ends)]

    def encoded_ids(self, documents: NDArray[np.int64]) -> list[bytes]:
        """The users' ids of documents i64[n], in UTF-8."""
        starts, stops = self._id_ends[documents].tolist(), self._id_ends[documents + 1].tolist()
        return [self._ids[start:stop].tobytes() for start, stop in zip(starts, stops, strict=True)]

    def find(self, identifier: str) -> int | None:
        """The live document with this id, or None."""
        encoded = identifier.encode("utf-8", "surrogatepass")  # no stored id has a surrogate
        for document in self._with_hash(id_hash(encoded)):
            start, stop = self._id_ends[document], self._id_ends[document + 1]
            if self._ids[start:stop].tobytes() == encoded and (self.live is None or self.live[document]):
                return document
        return None

    def find_all(self, identifiers: Sequence[bytes], hashes: NDArray[np.bytes_]) -> Iterator[tuple[int, int]]:
        """Of many ids those that are of live documents here: (place among the ids, document).

        Args:
            identifiers: ids in UTF-8.
            hashes: S16[n], their `id_hash`.
        """
        starts = np.searchsorted(self._hash_column, hashes, side="left")
        stops = np.searchsorted(self._hash_column, hashes, side="right")
        for place in np.flatnonzero(stops > starts).tolist():
            for document in self._id_order[starts[place] : stops[place]].tolist():
                start, stop = self._id_ends[document], self._id_ends[document + 1]
                if self._ids[start:stop].tobytes() == identifiers[place] and (self.live is None or self.live[document]):
                    yield place, document

    @cached_property
    def _hash_column(self) -> NDArray[np.bytes_]:
        return np.ascontiguousarray(self._id_hashes).reshape(-1).view(f"S{HASH_BYTES}")

    def _with_hash(self, digest: bytes) -> list[int]:
        if not len(self._id_order):
            return []
        wanted = np.array(digest, f"S{HASH_BYTES}")
        start = int(np.searchsorted(self._hash_column, wanted, side="left"))
        stop = int(np.searchsorted(self._hash_column, wanted, side="right"))
        return [int(document) for document in self._id_order[start:stop]]


def _ranges(starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers of ranges, one after the other."""
    places: NDArray[np.int64] = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())
    return places
