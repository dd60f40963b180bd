"""Segments: what was written comes back, for any corpus and any segment size, and damage of any array is found."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse
from small_index import Process, build
from test_postings import VOCAB, check, csr, stored

from m3search import Document
from m3search.errors import CorruptionError
from m3search.storage import IndexConfig, IndexWriter, PassageBatch, Snapshot, id_hash, segment_writer
from m3search.storage.codec import pack_array
from m3search.storage.keys import array_key, document_key

DIM = 3
floats = st.floats(-4, 4, width=32)
passage = st.tuples(
    hnp.arrays(np.float32, DIM, elements=floats),
    st.dictionaries(st.integers(0, VOCAB - 1), st.floats(2.0**-20, 100, width=32), max_size=4),
    st.dictionaries(st.text(min_size=1, max_size=2), st.integers(1, 9), max_size=4),
    st.tuples(st.integers(0, 9), st.integers(10, 2**31)),
)
document = st.tuples(
    st.text(min_size=1, max_size=5), st.text(max_size=5), st.text(max_size=9), st.lists(passage, max_size=3)
)
corpora = st.lists(document, max_size=8, unique_by=lambda one: one[0])


def write(path, documents, segment_size):
    """Documents one by one through the writer, as a build does it."""
    config = IndexConfig(dense_dim=DIM, vocab_size=VOCAB, bm25={"k1": 1.2, "b": 0.75}, segment_size=segment_size)
    with IndexWriter.for_build(path, overwrite=False) as writer:
        writer.stage(config)
        segment = writer.new_segment()
        for name, title, text, passages in documents:
            dense, weights, counts, spans = zip(*passages, strict=True) if passages else ((), (), (), ())
            segment.append(
                PassageBatch(
                    documents=[Document(name, text, title, {"size": len(passages)})],
                    offsets=np.array([0, len(passages)]),
                    spans=np.array(spans, np.int64).reshape(-1, 2),
                    dense=np.array(dense, np.float32).reshape(-1, DIM),
                    lexical=csr(weights),
                    terms=counts,
                )
            )
            if segment.full:
                writer.add_segment(segment.seal())
                segment = writer.new_segment()
        if segment.documents:
            writer.add_segment(segment.seal())
        else:
            segment.discard()
        writer.publish()


@settings(deadline=None)
@given(documents=corpora, segment_size=st.integers(1, 9))
def test_what_was_written_comes_back_for_any_segment_size(tmp_path_factory, documents, segment_size):
    path = tmp_path_factory.mktemp("i")
    write(path, documents, segment_size)
    with IndexWriter(path) as writer, Snapshot.latest(writer.environment, path, verify=True) as snapshot:
        snapshot.verify()
        assert snapshot.documents == len(documents)
        passages = [passage for *_, given in documents for passage in given]
        assert snapshot.passages == len(passages)
        assert snapshot.bm25_length == sum(sum(counts.values()) for _, _, counts, _ in passages)
        norms = [np.linalg.norm(dense.astype(np.float64)) for dense, *_ in passages]
        assert snapshot.dense_norm == pytest.approx(max(norms, default=0.0))
        assert snapshot.allowed(None) == [None] * len(snapshot.segments)

        first = 0
        for segment in snapshot.segments:
            here = documents[first : first + segment.info.documents]
            assert 0 < len(here) <= segment_size
            check_segment(snapshot, segment, here)
            first += len(here)
        assert first == len(documents)
        assert [s.base for s in snapshot.segments] == [0, *np.cumsum([s.info.passages for s in snapshot.segments])][:-1]
        for name, title, text, given_passages in documents:
            found = snapshot.find(name)
            assert snapshot.document(*found) == Document(name, text, title, {"size": len(given_passages)})
        assert snapshot.find("no such document") is None
        check_places(snapshot, documents)


def check_places(snapshot, documents):
    """Where passages lie, for all of them in an order that jumps between segments."""
    sizes = [len(passages) for *_, passages in documents]
    docids = np.random.default_rng(0).permutation(np.repeat(np.arange(sum(sizes)), 2))
    bases = [segment.base for segment in snapshot.segments]
    owners = [max(number for number, base in enumerate(bases) if base <= docid) for docid in docids]
    assert snapshot.owners(docids).tolist() == owners
    seen = []
    for segment, positions, rows in snapshot.split(docids):
        assert (docids[positions] == rows + segment.base).all()
        assert {owners[position] for position in positions} == {snapshot.segments.index(segment)}
        seen += positions.tolist()
    assert sorted(seen) == list(range(len(docids)))
    first = np.repeat(np.cumsum([0, *sizes])[:-1], sizes)
    assert snapshot.parents(docids).tolist() == first[docids].tolist()
    assert snapshot.passages_per_document == (sum(sizes) / len(sizes) if sizes else 1)


def check_segment(snapshot, segment, documents):
    sizes = [len(passages) for *_, passages in documents]
    passages = [passage for *_, given in documents for passage in given]
    assert [segment.id_of(number) for number in range(len(documents))] == [name for name, *_ in documents]
    assert np.diff(segment.passage_ends).tolist() == sizes
    owners = np.repeat(np.arange(len(sizes)), sizes)
    assert segment.documents_of.tolist() == owners.tolist()
    assert segment.one_passage_each == (sizes == [1] * len(sizes))
    for times in (1, 20):  # few are read one by one
        numbers = np.tile(np.arange(len(documents))[::-1], times)
        assert segment.ids_of(numbers) == [name for name, *_ in documents[::-1]] * times
        assert segment.documents_at(np.tile(np.arange(len(owners)), times)).tolist() == owners.tolist() * times
    assert segment.passages_of(np.arange(len(documents))[::-1]).tolist() == [
        row for number in reversed(range(len(documents))) for row in np.flatnonzero(owners == number)
    ]
    assert segment.ids_of(np.empty(0, np.int64)) == []
    assert segment.spans.tolist() == [list(span) for *_, span in passages]
    assert segment.vectors.tobytes() == b"".join(dense.tobytes() for dense, *_ in passages)
    assert segment.live is None
    check(
        segment.fields["lexical"], [{token: stored(w) for token, w in weights.items()} for _, weights, *_ in passages]
    )
    check(segment.fields["bm25"], [counts for _, _, counts, _ in passages])
    assert segment.fields["bm25"].lengths.tolist() == [sum(counts.values()) for _, _, counts, _ in passages]


def test_an_id_hash_never_ends_in_a_byte_that_numpy_drops():
    hashes = [id_hash(str(number).encode()) for number in range(2000)]
    assert all(len(digest) == 16 and digest[-1] for digest in hashes)
    assert len(set(hashes)) == 2000


def test_a_segment_is_full_at_its_size_in_passages_or_documents(tmp_path):
    one = (np.zeros(DIM, np.float32), {0: 1.0}, {"a": 1}, (0, 10))
    write(tmp_path / "passages", [("a", "", "", [one] * 3), ("b", "", "", [one]), ("c", "", "", [])], 3)
    write(tmp_path / "documents", [(name, "", "", []) for name in "abcdefg"], 3)
    for name, expected in (("passages", [(1, 3), (2, 1)]), ("documents", [(3, 0), (3, 0), (1, 0)])):
        with IndexWriter(tmp_path / name) as writer:
            assert [(info.documents, info.passages) for info in writer.manifest().segments] == expected


def test_a_segment_is_full_at_a_bound_of_memory_which_a_batch_may_pass(tmp_path, monkeypatch):
    one = (np.zeros(DIM, np.float32), {0: 1.0, 1: 1.0}, {"a": 1}, (0, 10))
    for name, limit in (("_POSTINGS_LIMIT", 5), ("_ROWS_LIMIT", 3), ("_TEXT_LIMIT", 80), ("_ID_LIMIT", 3)):
        with monkeypatch.context() as patch:
            patch.setattr(segment_writer, name, limit)
            write(tmp_path / name, [(str(number), "", "text", [one]) for number in range(7)], 100)
        with IndexWriter(tmp_path / name) as writer:
            assert [info.documents for info in writer.manifest().segments] == [3, 3, 1], name
        open_snapshot(tmp_path / name, verify=True)


@pytest.fixture
def index(tmp_path):
    """An index of three segments with a dead document in the second one."""
    build(tmp_path / "i")
    with IndexWriter(tmp_path / "i") as writer:
        info = writer.manifest().segments[1]
        with Snapshot.latest(writer.environment, tmp_path / "i") as snapshot:
            writer.delete([snapshot.segments[1].id_of(1)])
    return tmp_path / "i", info


def replace(path, key, value):
    with IndexWriter(path) as writer, writer.environment.write() as transaction:
        old = bytes(transaction.get(key))
        transaction.put(key, value) if value is not None else transaction.delete(key)
    return old


def open_snapshot(path, *, verify=False):
    with IndexWriter(path) as writer, Snapshot.latest(writer.environment, path, verify=verify) as snapshot:
        if verify:
            snapshot.verify()


def test_a_flipped_byte_anywhere_in_any_value_is_found_by_verifying(index):
    path, info = index
    rng = np.random.default_rng(0)
    keys = [array_key(info.key, name) for name in [*info.blobs, "live"]]
    keys += [document_key(info.key, number) for number in range(info.documents)]
    assert len(keys) > 20
    open_snapshot(path, verify=True)
    for key in keys:
        with IndexWriter(path) as writer, writer.environment.read() as transaction:
            good = bytes(transaction.get(key))
        for at in {0, 40, 64, len(good) - 1, *rng.integers(0, len(good), 4).tolist()} & set(range(len(good))):
            damaged = bytearray(good)
            damaged[at] ^= 1 << int(rng.integers(8))
            replace(path, key, bytes(damaged))
            with pytest.raises(CorruptionError, match="restore the index"):
                open_snapshot(path, verify=True)
            if key[17:18] == b"a" and at < 64:
                with pytest.raises(CorruptionError, match="restore the index"):
                    open_snapshot(path)
        replace(path, key, good)
    open_snapshot(path, verify=True)


def test_a_missing_cut_or_misplaced_value_is_found_at_open(index):
    path, info = index
    for name in (*info.blobs, "live"):
        key = array_key(info.key, name)
        for value in (None, b"", b"short", bytes(200)):
            old = replace(path, key, value)
            with pytest.raises(CorruptionError, match=f"array '{name}' of segment {info.uuid} .*restore the index"):
                open_snapshot(path)
            with IndexWriter(path) as writer, writer.environment.write() as transaction:
                transaction.put(key, old)
    # two arrays of one size and type that change places
    one, two = (array_key(info.key, f"bm25.{name}") for name in ("row_terms", "rare"))
    replace(path, one, replace(path, two, replace(path, one, b"")))
    with pytest.raises(CorruptionError, match="does not begin as this array"):
        open_snapshot(path)


def test_a_live_bitmap_that_says_other_than_the_manifest_is_found_at_open(index):
    path, info = index
    key = array_key(info.key, "live")
    everybody = np.packbits(np.ones(info.documents, bool), bitorder="little")
    for bits in (everybody, everybody[:0], np.append(everybody, np.uint8(0))):
        replace(path, key, pack_array(bits, key))
        with pytest.raises(CorruptionError, match=r"live documents of segment .* are not as many as the manifest says"):
            open_snapshot(path)


READ_A_DOCUMENT = """
from m3search import Index, errors
with Index.open(sys.argv[1]) as index:
    try:
        print(index.get(sys.argv[2]).text)
    except errors.CorruptionError as error:
        print(error)
"""


def test_a_damaged_document_is_found_when_it_is_read(index):
    path, info = index
    replace(path, document_key(info.key, 0), b"nothing of the kind")
    with IndexWriter(path) as writer, Snapshot.latest(writer.environment, path) as snapshot:
        name = snapshot.segments[1].id_of(0)
    with Process(READ_A_DOCUMENT, path, name) as process:
        code, out = process.end()
    assert code == 0
    assert (
        out == f"document 0 of segment {info.uuid} does not match its checksum: restore the index or build it again\n"
    )


@pytest.mark.parametrize("suffix", ["vectors", "colbert", "signs"])
def test_a_damaged_segment_file_is_found(index, suffix):
    path, info = index
    file = path / "segments" / info.file_name(suffix)
    good = file.read_bytes()
    for length in (0, 1, 64, len(good) - 1):
        file.write_bytes(good[:length])
        with pytest.raises(CorruptionError, match=rf"{suffix} has {length:,} bytes, should have {len(good):,}"):
            open_snapshot(path)
    file.write_bytes(good + b"\0")
    with pytest.raises(CorruptionError, match="restore the index or build it again"):
        open_snapshot(path)
    file.unlink()
    with pytest.raises(CorruptionError, match=rf"a segment file is gone: .*{suffix}"):
        open_snapshot(path)
    for at in range(len(good)):
        file.write_bytes(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
        with pytest.raises(CorruptionError, match="does not match its checksum: restore the index or build it again"):
            open_snapshot(path, verify=True)
    file.write_bytes(good)
    open_snapshot(path, verify=True)


def test_files_that_change_places_are_found_at_open(tmp_path):
    passages = [(np.full(DIM, number, np.float32), {0: 1.0}, {"a": 1}, (0, 10)) for number in range(2)]
    write(tmp_path, [(str(number), "", "", [passage]) for number, passage in enumerate(passages)], 1)
    open_snapshot(tmp_path)
    one, two = sorted((tmp_path / "segments").iterdir())
    contents = one.read_bytes()
    assert len(contents) == two.stat().st_size
    one.write_bytes(two.read_bytes())
    two.write_bytes(contents)
    with pytest.raises(CorruptionError, match=rf"the table of {one.name}|the table of {two.name}"):
        open_snapshot(tmp_path)


def test_a_sparse_matrix_of_views_is_written_as_its_rows(tmp_path):
    matrix = sparse.csr_array(np.arange(24, dtype=np.float32).reshape(6, 4))
    config = IndexConfig(vocab_size=4)
    with IndexWriter.for_build(tmp_path, overwrite=False) as writer:
        writer.stage(config)
        segment = writer.new_segment()
        documents = [Document(str(row), "") for row in (3, 4)]
        segment.append(PassageBatch(documents, np.array([0, 1, 2]), np.zeros((2, 2), np.int64), lexical=matrix[3:5]))
        writer.add_segment(segment.seal())
        writer.publish()
        with Snapshot.latest(writer.environment, tmp_path) as snapshot:
            rows = [{column: float(matrix[row, column]) for column in range(4)} for row in (3, 4)]
            check(snapshot.segments[0].fields["lexical"], rows)
