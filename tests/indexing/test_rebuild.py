"""Rebuilt indexes: what a fresh build with the new settings gives, from stored vectors and texts alone."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from resuming import BLENDS, CHECKPOINT, build, held, load, source

from m3search import Document, Encoder, Index
from m3search.analysis.passages import whole
from m3search.errors import CorruptionError, IndexExistsError, IndexNotFoundError, InputError, WeightsError
from m3search.indexing.rebuild import passages_of
from m3search.storage.postings import BM25_ARRAYS

GOLDEN = Path(__file__).parents[2] / "indexes"
LONG_TITLE = Document("long", "the lazy dog reads old books " * 6, "a title that is very long " * 9, {"number": 47})
DOCUMENTS = source()


@pytest.fixture(scope="module")
def encoder():
    return load()


@pytest.fixture(scope="module")
def folder(encoder, tmp_path_factory):
    """Indexes that are rebuilt, by name."""
    folder = tmp_path_factory.mktemp("before")
    encoder.watch(folder / "log")
    build([*DOCUMENTS, LONG_TITLE], folder / "long", encoder)
    build(DOCUMENTS, folder / "all", encoder)
    build(DOCUMENTS, folder / "no bm25", encoder, bm25=False)
    build(DOCUMENTS, folder / "int8", encoder, colbert="int8")
    build(DOCUMENTS, folder / "bf16", encoder, colbert="bf16")
    return folder


def rebuild(path, to, **options):
    with Index.rebuild(path, to, threads=1, progress=False, **options) as index:
        return index.report


CHANGES = [
    ("all", {"segment_size": 7}),
    ("all", {"segment_size": 1000}),
    ("all", {"dense": "hnsw"}),
    ("all", {"dense": "ivf", "dense_options": {"nlist": 2}, "segment_size": 40}),
    ("all", {"bm25": {"language": None}}),
    ("all", {"bm25": {"language": "de", "k1": 0.9}}),
    ("all", {"bm25": {"k1": 0.9, "b": 0.4}, "segment_size": 20}),
    ("all", {"bm25": False}),
    ("all", {"colbert": "int8"}),
    ("all", {"colbert": "int8", "dense": "flat", "bm25": {"language": "fr"}, "segment_size": 9}),
    ("all", {"colbert": False}),
    ("no bm25", {"bm25": True}),
    ("no bm25", {"bm25": {"language": "de"}}),
    ("bf16", {"segment_size": 30}),
    ("long", {"segment_size": 30}),
    ("long", {"bm25": {"b": 0.1}}),
]


@pytest.mark.parametrize(("name", "changes"), CHANGES, ids=lambda value: str(value).replace(" ", ""))
def test_it_is_what_a_build_with_the_new_settings_gives(encoder, folder, tmp_path, name, changes):
    report = rebuild(folder / name, tmp_path / "i", **changes)
    options = dict(changes)
    if options.get("colbert") is False:
        options["colbert"] = None
    elif name == "bf16":
        options["colbert"] = "bf16"
    documents = [*DOCUMENTS, LONG_TITLE] if name == "long" else DOCUMENTS
    fresh = build(documents, tmp_path / "fresh", encoder.watch(tmp_path / "log"), **options)
    blends = [blend for blend in BLENDS if not set(blend) & left_out(options)]
    assert len(blends) >= 2
    assert held(tmp_path / "i", encoder, blends) == held(tmp_path / "fresh", encoder, blends)
    assert (report.documents, report.passages) == (fresh.documents, fresh.passages)
    assert configs(tmp_path / "i") == configs(tmp_path / "fresh")


def left_out(options):
    legs = {"bm25"} if options.get("bm25") is False else set()
    return legs | ({"colbert"} if options.get("colbert", "int8") is None else set())


def configs(path):
    with Index.open(path) as index:
        return index._snapshot.manifest.config


def test_signs_are_made_of_bytes_and_leave_out_what_was_rounded_to_nothing(encoder, folder, tmp_path):
    rebuild(folder / "int8", tmp_path / "i", colbert="int8+bits")
    with Index.open(tmp_path / "i") as made, Index.open(folder / "all") as fresh:
        for one, other in zip(made._snapshot.segments, fresh._snapshot.segments, strict=True):
            assert np.array_equal(one.tokens.codes, other.tokens.codes)
            assert np.array_equal(one.tokens.scales, other.tokens.scales)
            expected = np.packbits(one.tokens.codes > 0, axis=1, bitorder="little")
            assert np.array_equal(one.tokens.signs.view(np.uint8)[:, : expected.shape[1]], expected)
            differ = (
                np.bitwise_count(one.tokens.signs ^ other.tokens.signs).sum() if hasattr(np, "bitwise_count") else 0
            )
            assert differ <= (one.tokens.codes == 0).sum()


@pytest.mark.parametrize("codec", ["int8", "int8+bits"])
def test_bf16_becomes_bytes_by_a_second_rounding(encoder, folder, tmp_path, codec):
    rebuild(folder / "bf16", tmp_path / "i", colbert=codec)
    with Index.open(tmp_path / "i") as made, Index.open(folder / "bf16") as before:
        assert made.info()["colbert"]["codec"] == codec
        for one, other in zip(made._snapshot.segments, before._snapshot.segments, strict=True):
            for row in range(one.info.passages):
                vectors = other.tokens.decode(row)
                step = np.abs(vectors).max(axis=1, keepdims=True) / 127
                assert (np.abs(one.tokens.decode(row) - vectors) <= 0.51 * step).all()


@pytest.mark.parametrize("before", ["int8", "all"])
def test_bytes_do_not_become_bf16(folder, tmp_path, before):
    with pytest.raises(
        InputError, match=r"int8.* token vectors cannot become bf16, .* build again with colbert='bf16'"
    ):
        rebuild(folder / before, tmp_path / "i", colbert="bf16")
    assert not (tmp_path / "i").exists()


def test_deleted_documents_are_left_out(encoder, folder, tmp_path):
    shutil.copytree(folder / "all", tmp_path / "before")
    gone = {f"d{number}" for number in (0, 1, 2, 17, 40, 46)}
    with Index.open(tmp_path / "before", mode="w", merging="manual") as index:
        index.delete(gone)
    report = rebuild(tmp_path / "before", tmp_path / "i")
    assert report.documents == 41
    build([d for d in DOCUMENTS if d.id not in gone], tmp_path / "fresh", encoder.watch(tmp_path / "log"))
    assert held(tmp_path / "i", encoder) == held(tmp_path / "fresh", encoder)


def test_a_compacted_index_is_found_where_it_is(encoder, folder, tmp_path):
    """Its store has another name."""
    shutil.copytree(folder / "all", tmp_path / "before")
    with Index.open(tmp_path / "before", mode="w") as index:
        index.compact()
    assert not (tmp_path / "before" / "store").exists()
    assert rebuild(tmp_path / "before", tmp_path / "i").documents == len(DOCUMENTS)
    assert held(tmp_path / "i", encoder) == held(folder / "all", encoder)


def test_no_model_is_needed_and_none_is_loaded(encoder, tmp_path, monkeypatch):
    shutil.copytree(CHECKPOINT, tmp_path / "model")
    with Index.build(DOCUMENTS[:4], tmp_path / "before", encoder=Encoder.load(tmp_path / "model")):
        pass
    shutil.rmtree(tmp_path / "model")
    monkeypatch.setattr(Encoder, "encode", None)
    assert rebuild(tmp_path / "before", tmp_path / "i", bm25={"language": "de"}).documents == 4
    with Index.open(tmp_path / "i") as index:
        assert index.search("lazy", weights={"bm25": 1})


def test_passages_are_cut_again_where_they_were(encoder, folder):
    encoder.watch(folder / "log2")
    documents = [*DOCUMENTS, LONG_TITLE, Document("t", "", "a title " * 30), Document("u", "text", "title " * 30)]
    build(documents, folder / "cut", encoder)
    texts = list(encoder.texts)
    found = {}
    with Index.open(folder / "cut") as index:
        snapshot = index._snapshot
        for segment, number in snapshot.live_documents():
            rows = segment.passages_of(np.array([number]))
            document = snapshot.document(segment, number)
            found[document.id] = [one.content for one in passages_of(document, segment.spans[rows].astype(np.int64))]
    ordinary = [text for document in DOCUMENTS for text in found[document.id]]
    assert texts[: len(ordinary)] == ordinary
    assert max(len(found[document.id]) for document in DOCUMENTS) > 2
    rest = texts[len(ordinary) :]
    for document in documents[len(DOCUMENTS) :]:
        its, rest = rest[: len(found[document.id])], rest[len(found[document.id]) :]
        titles = [text for text in its if text.strip() and text in document.title]
        assert len(titles) > 1
        assert found[document.id][len(titles) :] == its[len(titles) :]
        assert " ".join(found[document.id][: len(titles)]).split() == document.title.split()
    assert rest == []


def test_a_short_document_is_one_passage():
    document = Document("a", " text ", "title")
    assert passages_of(document, np.array([[0, 6]])) == whole(document)
    assert passages_of(Document("a", "", "title"), np.array([[0, 0]])) == whole(Document("a", "", "title"))
    assert passages_of(Document("a", ""), np.empty((0, 2), np.int64)) == []


def test_given_encodings_have_the_whole_document_in_every_passage(encoder, tmp_path):
    from m3search import Encodings

    made = encoder.encode(["one", "two", "three"], colbert=True)
    given = Encodings(made.dense, made.lexical, made.colbert, np.array([0, 2, 3]))
    documents = [Document("a", "dogs and foxes", "animals"), Document("b", "books")]
    build(documents, tmp_path / "before", None, encodings=given, bm25=False)
    rebuild(tmp_path / "before", tmp_path / "i", bm25=True)
    build(documents, tmp_path / "fresh", None, encodings=given)
    answers = []
    for name in ("i", "fresh"):
        with Index.open(tmp_path / name) as index:
            answers.append([(hit.id, hit.score) for hit in index.search("animals dogs books", weights={"bm25": 1})])
    assert answers[0] == answers[1]
    assert len(answers[0]) == 2


@pytest.mark.parametrize("version", ["golden-v1", "golden-v2", "golden-v3"])
def test_an_index_of_an_older_format_becomes_one_of_this(tmp_path, version):
    rebuild(GOLDEN / version, tmp_path / "i")
    with Index.open(GOLDEN / version) as before, Index.open(tmp_path / "i") as after:
        for segment in after._snapshot.segments:
            assert {f"bm25.{name}" for name in BM25_ARRAYS} <= set(segment.info.blobs)
        assert list(before) == list(after)
        hits = [index.search("read the zip file", 20, weights={"bm25": 1}) for index in (before, after)]
        assert [(hit.id, hit.score) for hit in hits[0]] == [(hit.id, hit.score) for hit in hits[1]]


def test_an_index_without_documents(encoder, tmp_path):
    build([], tmp_path / "before", encoder)
    assert rebuild(tmp_path / "before", tmp_path / "i", dense="hnsw").documents == 0
    with Index.open(tmp_path / "i") as index:
        assert len(index) == 0


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("all", {"segment_size": 0}, InputError, "segment_size is 0: give a whole number from 1"),
        ("all", {"dense": "tree"}, InputError, "dense is 'tree'"),
        ("all", {"dense_options": {"M": 8}, "dense": "flat"}, InputError, "has no option 'M'"),
        ("all", {"colbert": "zip"}, InputError, "there is no ColBERT codec 'zip'"),
        ("all", {"colbert": True}, InputError, "colbert is True: give a codec, or False"),
        ("all", {"bm25": {"k2": 1}}, InputError, "bm25 has no setting 'k2'"),
        (
            "all",
            {"bm25": False, "weights": {"bm25": 1}},
            InputError,
            "weights name bm25, which the new index will not have",
        ),
        ("all", {"weights": {"dense": -1}}, WeightsError, "dense"),
        ("terms", {"bm25": False}, InputError, "nothing would be left to search: keep BM25"),
        ("terms", {"dense": "hnsw"}, InputError, "this index has no dense vectors"),
        (
            "terms",
            {"colbert": "int8"},
            InputError,
            "this index has no token vectors, and making them takes the encoder",
        ),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_left(folder, tmp_path, name, options, error, message):
    if not (folder / "terms").exists():
        build(DOCUMENTS, folder / "terms", None, colbert=None)
    with pytest.raises(error, match=message):
        rebuild(folder / name, tmp_path / "i", **options)
    assert not (tmp_path / "i").exists()


def test_where_it_goes(folder, tmp_path):
    with pytest.raises(InputError, match="is the index itself: name another folder"):
        rebuild(folder / "all", folder / "." / "all", overwrite=True)
    with pytest.raises(IndexNotFoundError, match="holds no index"):
        rebuild(tmp_path / "nowhere", tmp_path / "i")
    with pytest.raises(IndexExistsError, match="overwrite=True"):
        rebuild(folder / "all", folder / "int8")
    shutil.copytree(folder / "int8", tmp_path / "i")
    rebuild(folder / "all", tmp_path / "i", overwrite=True)
    assert configs(tmp_path / "i") == configs(folder / "all")


def test_damage_is_found_and_not_copied(folder, tmp_path):
    shutil.copytree(folder / "all", tmp_path / "before")
    file = next((tmp_path / "before" / "segments").glob("*.vectors"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(CorruptionError, match="does not match its checksum"):
        rebuild(tmp_path / "before", tmp_path / "i")
    assert not (tmp_path / "i").exists()


def test_weights_may_change(folder, tmp_path):
    rebuild(folder / "all", tmp_path / "i", weights={"dense": 1, "bm25": 2})
    assert configs(tmp_path / "i").weights.to_dict() == {"dense": 1, "lexical": 0, "bm25": 2, "colbert": 0}
