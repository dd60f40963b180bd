"""Columns: every layout answers as a dict would, merges as a build, and damage is found and leads nowhere."""

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3search import Document, Index
from m3search.errors import CorruptionError, FilterError
from m3search.filtering import FieldType, Kind
from m3search.storage import IndexWriter, check_index, column_writer
from m3search.storage.bitmaps import complement, everything, packed_rows, roaring, rows_of, unpacked
from m3search.storage.codec import pack_array, unpack_array
from m3search.storage.column_writer import ColumnWriter
from m3search.storage.columns import SegmentColumns
from m3search.storage.keys import array_key


def columns(many):
    writer = ColumnWriter()
    for one in many:
        writer.append(one)
    return SegmentColumns(writer.finish(), len(many), "here")


def rows(column, packed):
    return rows_of(packed, column.documents).tolist()


@pytest.mark.parametrize("count", [1, 7, 8, 65_536, 65_537, 200_000])
@pytest.mark.parametrize("share", [0, 1e-4, 0.02, 0.5, 1])
@pytest.mark.parametrize("together", [False, True])
def test_a_bitmap_is_unpacked_as_it_was_made(count, share, together):
    mask = np.random.default_rng(3).random(count) < share
    mask = np.sort(mask) if together else mask
    blob = np.frombuffer(roaring(np.flatnonzero(mask)), np.uint8)
    packed = unpacked(blob, count, "here")
    assert packed.tolist() == np.packbits(mask, bitorder="little").tolist()
    assert rows_of(complement(packed, count), count).tolist() == np.flatnonzero(~mask).tolist()
    assert rows_of(everything(count), count).tolist() == list(range(count))
    assert packed_rows(np.flatnonzero(mask), count).tolist() == packed.tolist()


@given(st.binary(max_size=200), st.integers(1, 200_000))
def test_any_bytes_are_a_bitmap_or_damaged(data, count):
    try:
        packed = unpacked(np.frombuffer(data, np.uint8), count, "here")
    except CorruptionError:
        return
    assert len(packed) == -(-count // 8)


@given(st.data())
def test_a_damaged_bitmap_leads_nowhere(data):
    numbers = np.unique(data.draw(st.lists(st.integers(0, 150_000), min_size=1, max_size=300)))
    blob = bytearray(roaring(np.concatenate([numbers, np.arange(150_001, 160_000)])))
    for _ in range(data.draw(st.integers(1, 4))):
        blob[data.draw(st.integers(0, min(len(blob) - 1, 60)))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(CorruptionError):
        assert len(unpacked(np.frombuffer(bytes(blob), np.uint8), 160_000, "here")) == 20_000


def test_types_are_inferred():
    found = columns(
        [
            {
                "a": "x",
                "n": 1,
                "b": True,
                "d": "2020-01-01",
                "l": ["x", "y"],
                "m": {"x": 1.5, "y": {"z": "2020-01-01T10:00Z"}},
            },
            {
                "a": None,
                "n": 2.5,
                "d": "no date",
                "l": [],
                "o": [1, "x"],
                "p": [[1]],
                "e": None,
                "f": math.nan,
                "g": [None],
            },
            {"a": "y", "one": ["x"], "twice": ["x", "x"], "long": list(range(257)), "m": {"x": 2}},
        ]
    )
    assert {name: str(one) for name, one in found.types.items()} == {
        "a": "string",
        "b": "boolean",
        "d": "string",
        "l": "list of string",
        "long": "partly number",
        "m.x": "number",
        "m.y.z": "date",
        "n": "number",
        "o": "partly object",
        "one": "string",
        "p": "partly object",
        "twice": "string",
    }
    for one in found.types.values():
        assert FieldType.of(str(one)) == one


def test_numbers_are_compared_exactly():
    values = [2**53, 2**53 + 1, 2**53 + 2, 2**64 - 1, -(2**63), -(2**63) + 1, 0.1, -0.0, 5, math.inf, -math.inf, 1e300]
    for many in ([{"n": value} for value in values], [{"n": [value, 7]} for value in values]):
        column = columns(many)["n"]
        for value in [*values, 2**53 + 3, 2**64, 0.10000000000000002, -(10**400), 10**400]:
            assert rows(column, column.with_values([value])) == [at for at, one in enumerate(values) if one == value]
            own = [[one["n"]] if not isinstance(one["n"], list) else one["n"] for one in many]
            above = [at for at, some in enumerate(own) if any(one > value for one in some)]
            assert rows(column, column.within(value, None, with_low=False)) == above
    assert columns([{"n": value} for value in values])["n"].counts(everything(len(values)))[2**64 - 1] == 1


@pytest.mark.parametrize("most", [0, 3, 1024])
@pytest.mark.parametrize("several", [False, True])
def test_strings_of_any_number_are_found_and_counted(monkeypatch, most, several):
    monkeypatch.setattr(column_writer, "MOST_BITMAPS", most)
    rng = np.random.default_rng(4)
    values = [[f"v{n}" for n in rng.integers(0, 300, 3 if several else 1)] for _ in range(1000)]
    column = columns([{"s": one if several else one[0]} for one in values])["s"]
    layout = column._starts is not None, column._ordinals is not None
    assert layout == ((False, False) if most == 1024 else (several, not several))
    for wanted in (["v7"], ["v1", "v2", "v3", "v4", "v5", "v6", "nobody"], ["nobody"], []):
        expected = [at for at, one in enumerate(values) if set(one) & set(wanted)]
        assert rows(column, column.with_values(wanted)) == expected
    allowed = packed_rows(np.arange(0, 1000, 3), 1000)
    expected = {}
    for one in values[::3]:
        for value in set(one):
            expected[value] = expected.get(value, 0) + 1
    assert column.counts(allowed) == expected
    pairs = sorted(zip(*(some.tolist() for some in column.pairs()), strict=True))
    names = column.dictionary.values()
    assert [(at, names[ordinal]) for at, ordinal in pairs] == sorted(
        ((at, value) for at, one in enumerate(values) for value in set(one)),
        key=lambda pair: (pair[0], names.index(pair[1])),
    )


def test_what_is_too_long_or_too_much_is_there_and_not_compared():
    many = [{"text": "x" * 256}, {"text": "ä" * 200}, {"text": "x" * 10_000}, {f"f{n:04}": n for n in range(1100)}]
    found = columns(many)
    assert not found.complete
    assert len(found) == 1000
    column = found["text"]
    assert column.type == FieldType(Kind.STRING)
    assert rows(column, column.present()) == [0, 1, 2]
    assert rows(column, column.with_values(["x" * 256])) == [0]


def test_unique_strings_take_what_they_are_long_and_little_more():
    writer = ColumnWriter()
    for number in range(20_000):
        writer.append({"key": f"{number:032x}"})
    assert writer.finish().arrays["meta"].nbytes < 20_000 * (32 + 12)


def test_a_field_that_some_document_may_have_unseen_is_refused(tmp_path):
    many = {f"f{n:04}": n for n in range(1100)}
    docs = [Document("a", "x", metadata={"year": 1, **many}), Document("b", "x", metadata={"year": 2})]
    with Index.build(docs, tmp_path / "i", encoder=None) as index:
        assert index.search("x", filter={"year": 2}).ids == ["b"]
        with pytest.raises(FilterError, match="that are not indexed, because some documents have more than 1,000"):
            index.search("x", filter={"f1099": 1})


def damage(path, name, change):
    with IndexWriter(path) as writer:
        info = writer.manifest().segments[0]
        key = array_key(info.key, name)
        with writer.environment.read() as transaction:
            array = np.array(unpack_array(memoryview(bytes(transaction.get(key))), key, ""))
        change(array)
        with writer.environment.write() as transaction:
            transaction.put(key, pack_array(array, key))


def test_check_finds_what_the_columns_say_wrongly(tmp_path):
    docs = [Document(f"d{n}", "x", metadata={"n": n, "lang": "de" if n % 2 else "en"}) for n in range(20)]
    Index.build(docs, tmp_path / "i", encoder=None).close()
    assert check_index(tmp_path / "i", 3) == []

    def change(array):
        place = array.tobytes().find(np.float64(7).tobytes())
        array[place : place + 8] = np.frombuffer(np.float64(7.5).tobytes(), np.uint8)

    damage(tmp_path / "i", "meta", change)
    assert check_index(tmp_path / "i", 2) == []
    (found,) = check_index(tmp_path / "i", 3)
    assert "the column of the metadata 'n' is not that of the documents" in found.what


@pytest.mark.parametrize("change", [(0, 3, 10**9), (0, 0, 99), (0, 1, 50), (0, 2, -1), (1, 4, 2**62)])
def test_a_table_that_leads_outside_is_no_table(tmp_path, change):
    row, column, value = change
    docs = [Document(f"d{n}", "x", metadata={"n": n, "lang": "de"}) for n in range(20)]
    Index.build(docs, tmp_path / "i", encoder=None).close()
    damage(tmp_path / "i", "meta_table", lambda table: table.__setitem__((row, column), value))
    with pytest.raises(CorruptionError, match="do not fit together: restore the index"):
        Index.open(tmp_path / "i")
