"""Every format is read lazily, with the place of each record, past broken records and up to broken files."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3search.errors import DocumentError, InputError, MissingExtraError, SourceError
from m3search.indexing.report import SkipReport
from m3search.indexing.sources import (
    Estimate,
    Record,
    from_iterable,
    join_sources,
    lines,
    open_source,
    read_documents,
)
from m3search.indexing.sources.delimited import read_delimited
from m3search.indexing.sources.jsonl import read_jsonl_stream
from m3search.records import Document


def documents(path):
    return [accepted.document for accepted in read_documents(open_source(path))]


def skipping(path):
    report = SkipReport()
    return list(read_documents(open_source(path), report)), report


LINES = [
    b'{"_id": "a", "title": "First", "text": "one"}\n',
    b'{"id": 2, "text": "caf\xc3\xa9", "year": 1999}\r\n',
    b"\n",
    b'{"doc_id": "c", "text": ""}',
]
EXPECTED = [Document("a", "one", "First"), Document("2", "caf\u00e9", "", {"year": 1999}), Document("c", "")]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("ending", [".jsonl", ".ndjson", ".JSONL", ".jsonl.gz"])
def test_jsonl(tmp_path, mark, ending):
    path = tmp_path / f"docs{ending}"
    content = mark + b"".join(LINES)
    path.write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
    source = open_source(str(path))
    assert source.kind == "jsonl"
    assert [record.where for record in source] == [f"{path}:1", f"{path}:2", f"{path}:4"]
    assert documents(path) == EXPECTED == documents(path)


def test_a_beir_folder_is_its_corpus(tmp_path):
    (tmp_path / "corpus.jsonl").write_bytes(b"".join(LINES))
    (tmp_path / "readme.txt").write_text("not read")
    assert documents(tmp_path) == EXPECTED
    assert open_source(tmp_path).name == str(tmp_path / "corpus.jsonl")


def test_standard_input(monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO(b"".join(LINES) + b"\n{"))
    monkeypatch.setattr(sys, "stdin", stdin)
    source = open_source("-")
    assert source.estimate() == Estimate(None, None)
    records = list(source)
    assert [record.where for record in records] == ["stdin:1", "stdin:2", "stdin:4", "stdin:5"]
    assert records[0].document(0) == EXPECTED[0]
    with pytest.raises(SourceError, match="stdin:5: broken JSON"):
        records[3].document(3)


def test_standard_input_is_not_read_ahead():
    program = (
        "import sys\nfrom m3search.indexing.sources import open_source\n"
        "for record in open_source('-'):\n    print(record.value['id'], flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for name in ("a", "b"):
            process.stdin.write(b'{"id": "%s", "text": ""}\n' % name.encode())
            process.stdin.flush()
            assert process.stdout.readline().strip() == name.encode()
        process.stdin.close()
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        (b'{"id": "a", "text"', "broken JSON", r":2: broken JSON at column \d+: .*mend or remove"),
        (b'{"id": "a", "text": "t\xff"}', "not UTF-8", ":2: byte 0xff at position 22 is not UTF-8"),
        (b'{"id": "a", "text": "\xc3', "not UTF-8", "byte 0xc3"),
        (b"[" * 100_000, "broken JSON", ":2: JSON that is nested too deeply"),
        (b'{"id": ' + b"9" * 5000 + b"}", "broken JSON", ":2: JSON that cannot be read"),
        (b"7", "not a document", ":2: a int is no document"),
        (b'{"id": "a"}', "no text", r":2 \(id 'a'\): there is no 'text'"),
        (b'{"text": "a"}', "missing id", ":2: there is no id"),
        (b'{"id": "a", "text": "\\ud800"}', "lone surrogate", r":2 \(id 'a'\): the text holds the lone surrogate"),
    ],
)
def test_a_bad_line_costs_that_line_only(tmp_path, line, kind, message):
    path = tmp_path / "docs.jsonl"
    path.write_bytes(LINES[0] + line + b"\n" + LINES[1])
    with pytest.raises(InputError, match=message) as caught:
        documents(path)
    assert str(caught.value).startswith(str(path))
    accepted, report = skipping(path)
    assert [(item.ordinal, item.where) for item in accepted] == [(0, f"{path}:1"), (2, f"{path}:3")]
    assert [item.document for item in accepted] == EXPECTED[:2]
    assert report.kinds == {kind: 1}
    assert report.records[0].where == f"{path}:2"
    assert report.records[0].reason == str(caught.value)


def test_an_endless_line_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "LONGEST_LINE", 60)
    for tail in (b"\n" + LINES[1], b""):
        for length in (61, 120, 122, 123, 500):
            path = tmp_path / "docs.jsonl"
            path.write_bytes(LINES[0] + b"x" * length + tail)
            accepted, report = skipping(path)
            assert [item.document for item in accepted] == EXPECTED[: 2 if tail else 1]
            assert report.records[0].where == f"{path}:2"
            assert report.kinds == {"line too long": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'\n[\n{"id": 1}]', ":2: this is a JSON array, not JSONL"),
        ("\ufeff{}".encode("utf-16-le"), "this is UTF-16: convert it to UTF-8"),
    ],
)
def test_files_of_another_kind_stop_the_reading(tmp_path, content, message):
    path = tmp_path / "docs.jsonl"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        skipping(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-20], "the gzip file is cut off"),
        (lambda data: b"plain text", "not a sound gzip file"),
        (lambda data: data[:-8] + bytes(8), "not a sound gzip file"),
    ],
)
@pytest.mark.parametrize("ending", ["jsonl.gz", "csv.gz"])
def test_a_broken_gzip_is_not_skipped_over(tmp_path, damage, message, ending):
    path = tmp_path / f"docs.{ending}"
    rows = b"".join(LINES) if ending.startswith("jsonl") else b"id,text\n" + b"".join(b"%d,x\n" % n for n in range(99))
    path.write_bytes(damage(gzip.compress(rows)))
    with pytest.raises(SourceError, match=message):
        skipping(path)


CSV = (
    "\ufeffID,Title,text,Year,\r\n"
    '1,"A, ""quoted"" title",plain,1999,x\r\n'
    "\r\n"
    '2,,"two\r\nlines",,\r\n'
    "3,t,caf\u00e9,2001,y"
)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".csv.gz"])
def test_delimited(tmp_path, ending):
    path = tmp_path / f"docs{ending}"
    text = CSV.replace("A, ", "A; ").replace(",", "\t").replace("A; ", "A, ") if ending == ".tsv" else CSV
    path.write_bytes(gzip.compress(text.encode()) if ending.endswith("gz") else text.encode())
    assert [record.where for record in open_source(path)] == [f"{path}:2", f"{path}:4", f"{path}:6"]
    assert documents(path) == [
        Document("1", "plain", 'A, "quoted" title', {"Year": "1999", "column 5": "x"}),
        Document("2", "two\r\nlines", "", {"Year": "", "column 5": ""}),
        Document("3", "caf\u00e9", "t", {"Year": "2001", "column 5": "y"}),
    ]


@pytest.mark.parametrize(
    ("row", "kind", "message"),
    [
        (b"b,x,y", "wrong number of fields", ":3: the row has 3 fields, the header 2"),
        (b"b", "wrong number of fields", ":3: the row has 1 fields"),
        (b'b,"x"y', "broken CSV", ":3: broken row .*quote that is not closed"),
        (b"b,\xff\xfe", "not UTF-8", ":3: byte 0xff at position 0 is not UTF-8"),
        (b",x", "empty id", ":3: the id is empty"),
    ],
)
def test_a_bad_row_costs_that_row_only(tmp_path, row, kind, message):
    path = tmp_path / "docs.csv"
    path.write_bytes(b"id,text\na,one\n" + row + b"\nc,three\n")
    with pytest.raises(InputError, match=message):
        documents(path)
    accepted, report = skipping(path)
    assert [(item.ordinal, item.document.id) for item in accepted] == [(0, "a"), (2, "c")]
    assert report.kinds == {kind: 1}
    assert report.records[0].where == f"{path}:3"


def test_an_open_quote_says_how_much_it_swallowed(tmp_path):
    path = tmp_path / "docs.csv"
    path.write_bytes(b'id,text\na,one\nb,"two\nc,three\nd,four\n')
    accepted, report = skipping(path)
    assert [item.document.id for item in accepted] == ["a"]
    assert f"{path}:3: broken row" in report.records[0].reason
    assert "it runs to line 5, all of which is lost" in report.records[0].reason


def test_fields_are_longer_than_csv_allows_by_itself(tmp_path):
    path = tmp_path / "docs.csv"
    path.write_text("id,text\na," + "x" * 300_000 + "\n")
    assert len(documents(path)[0].text) == 300_000


def test_an_endless_row_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "LONGEST_LINE", 50)
    path = tmp_path / "docs.csv"
    path.write_text("id,text\na," + "x" * 300 + "\nb,two\n")
    accepted, report = skipping(path)
    assert [item.document.id for item in accepted] == ["b"]
    assert report.kinds == {"line too long": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty: the first row must name the columns"),
        ("\n\n", "the file is empty"),
        ("1,hello\n", ":1: the header names '1', 'hello', separated by commas: it must name an id"),
        ("id;text\n1;a\n", "separated by commas"),
        ("id,body\n1,a\n", "and a text; rename"),
        ("id,text,a,a\n1,t,x,y\n", "the header names 'a' twice"),
        ("id,Text,text\n1,t,x\n", "the header names 'text' twice"),
        ('id,"te"xt\n', ":1: .* the first row must name the columns"),
    ],
)
def test_a_header_is_needed(tmp_path, content, message):
    path = tmp_path / "docs.csv"
    path.write_text(content)
    with pytest.raises(SourceError, match=message):
        skipping(path)


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=8)


@given(st.lists(st.tuples(CELLS.filter(bool), CELLS, CELLS), max_size=6), st.sampled_from([",", "\t"]))
def test_rows_survive_writing_and_reading(tmp_path_factory, rows, delimiter):
    import csv

    path = tmp_path_factory.mktemp("csv") / "docs.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerow(["id", "text", "note"])
        writer.writerows(rows)
    read = [record.document(0) for record in read_delimited(path, "docs.csv", delimiter)]
    assert [(document.id, document.text, document.metadata["note"]) for document in read] == rows


def test_a_folder_of_text_and_markdown(tmp_path):
    root = tmp_path / "docs"
    (root / "b" / ".hidden").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"\xef\xbb\xbfplain\r\ntext")
    (root / "b" / "guide.md").write_text("---\ntitle: x\n---\n\n```\n# no\n```\n\n## The *guide* ##\ntext\n# Later\n")
    (root / "b" / "under.markdown").write_text("Some words\n==========\n\nmore")
    (root / "c.rst").write_text("Heading\n=======\n")
    (root / "d.md").write_text("no heading\n\n#hashtag\n")
    (root / "e.pdf").write_text("%PDF")
    (root / ".secret.txt").write_text("no")
    (root / "b" / ".hidden" / "x.txt").write_text("no")
    found = documents(root)
    assert [(document.id, document.title) for document in found] == [
        ("a.txt", "a"),
        ("b/guide.md", "The *guide*"),
        ("b/under.markdown", "Some words"),
        ("c.rst", "c"),
        ("d.md", "d"),
    ]
    assert found[0].text == "plain\ntext"
    assert open_source(root).estimate() == Estimate(5, sum((root / document.id).stat().st_size for document in found))


def test_links_out_of_a_folder_are_not_followed(tmp_path):
    root = tmp_path / "docs"
    (root / "inner").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("secret")
    (root / "inner" / "real.txt").write_text("real")
    try:
        (root / "file.txt").symlink_to(tmp_path / "outside" / "secret.txt")
        (root / "folder").symlink_to(tmp_path / "outside")
        (root / "loop").symlink_to(root)
        (root / "same.txt").symlink_to(root / "inner" / "real.txt")
        (root / "dead.txt").symlink_to(root / "nothing.txt")
    except OSError:
        pytest.skip("this system makes no links")
    assert [document.id for document in documents(root)] == ["inner/real.txt", "same.txt"]


def test_bad_files_cost_themselves_only(tmp_path, monkeypatch):
    from m3search.indexing.sources import folder

    monkeypatch.setattr(folder, "LONGEST_TEXT", 20)
    (tmp_path / "a.txt").write_bytes(b"fine\nbad \xff")
    (tmp_path / "b.txt").write_text("x" * 21)
    (tmp_path / "c.txt").write_text("good")
    accepted, report = skipping(tmp_path)
    assert [item.document.id for item in accepted] == ["c.txt"]
    assert [record.where for record in report.records] == [f"{tmp_path / 'a.txt'}:2", str(tmp_path / "b.txt")]
    assert report.kinds == {"not UTF-8": 1, "text too long": 1}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a file name be any bytes")
def test_a_file_name_that_is_no_text(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.txt")).write_text("text")
    with pytest.raises(DocumentError, match=r"bad\\xff\.txt.*the id holds the lone surrogate") as caught:
        documents(tmp_path)
    caught.value.where.encode()


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "docs.parquet"
    ids = list(range(600))
    table = pa.table({"_id": ids, "text": [f"text {n}" for n in ids], "tags": [["a", str(n)] for n in ids]})
    parquet.write_table(table, path, row_group_size=250)
    found = documents(path)
    assert [document.id for document in found] == [str(n) for n in ids]
    assert found[599] == Document("599", "text 599", "", {"tags": ["a", "599"]})
    assert next(iter(open_source(path))).where == f"{path}:row 1"
    estimate = open_source(path).estimate()
    assert estimate.documents == 600
    assert estimate.size > 1000
    parquet.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(SourceError, match="the columns are 'a': there must be an id"):
        documents(path)
    path.write_bytes(b"PAR1 nonsense")
    with pytest.raises(SourceError, match="not a sound Parquet file"):
        documents(path)


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "docs.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingExtraError, match=r"pip install 'm3search\[parquet\]'"):
        documents(tmp_path / "docs.parquet")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("docs.xml", "the ending '.xml' says nothing of the format; known are .jsonl"),
        ("docs", "the ending '' says nothing"),
        ("docs.gz", "the ending '' says nothing"),
        ("docs.parquet.gz", "the ending '.parquet' says"),
        ("page.md", "for a text file give its folder"),
        ("nothing.jsonl", "there is no such file or folder"),
        ("empty", "there is no .txt, .rst, .md, .markdown file in this folder"),
    ],
)
def test_what_is_no_source(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    for other in ("docs.xml", "docs", "docs.gz", "docs.parquet.gz", "page.md"):
        (tmp_path / other).write_text("x")
    with pytest.raises(SourceError, match=message):
        documents(tmp_path / name)


def test_several_sources_are_opened_before_the_first_is_read(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(LINES[0])
    (tmp_path / "b.csv").write_text("id,text\n2,two\n")
    where = [record.where for record in join_sources([tmp_path / "a.jsonl", tmp_path / "b.csv"])]
    assert where == [f"{tmp_path / 'a.jsonl'}:1", f"{tmp_path / 'b.csv'}:2"]
    with pytest.raises(SourceError, match="no such file"):
        join_sources([tmp_path / "a.jsonl", tmp_path / "c.csv"])


def test_iterables_are_consumed_one_by_one():
    taken = []

    def endless():
        for n in itertools.count():
            taken.append(n)
            yield f"text {n}" if n != 1 else None

    report = SkipReport()
    stream = read_documents(from_iterable(endless()), report)
    assert taken == []
    assert [next(stream).document.id for _ in range(3)] == ["0", "2", "3"]
    assert taken == [0, 1, 2, 3]
    assert report.records[0].where == "document 1"


def test_a_stream_of_lines_is_consumed_one_by_one():
    class Endless(io.RawIOBase):
        served = 0

        def readline(self, size=-1):
            self.served += 1
            return b'{"id": %d, "text": ""}\n' % self.served

    stream = Endless()
    records = read_jsonl_stream(stream, "endless")
    assert [next(records).value["id"] for _ in range(3)] == [1, 2, 3]
    assert stream.served == 3


def test_records_pass_through_and_single_documents_do_not():
    record = Record("x:1", "text")
    assert list(from_iterable([record, "b"])) == [record, Record("document 1", "b")]
    for single in ("text", b"text", {"id": "a"}, Document("a", "b"), 5, None):
        with pytest.raises(InputError, match="give an iterable of str"):
            from_iterable(single)


@pytest.mark.parametrize("count", [0, 1, 50, 20_000])
@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".csv", ".tsv.gz"])
def test_the_estimate_is_near(tmp_path, count, ending):
    path = tmp_path / f"docs{ending}"
    if ending.startswith(".jsonl"):
        rows = [json.dumps({"id": n, "text": "w" * (n % 140)}) for n in range(count)]
    else:
        separator = "\t" if ending.startswith(".tsv") else ","
        rows = [
            separator.join(["id", "text"]),
            *(f'{n}{separator}"{"w" * (n % 70)}\n{"w" * 70}"' for n in range(count)),
        ]
    content = "\n".join(rows).encode()
    path.write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
    estimate = open_source(path).estimate()
    assert estimate.documents == pytest.approx(count, rel=0.1)
    assert estimate.size == pytest.approx(len(content), rel=0.1)


def test_estimates_add_up():
    assert Estimate.total([Estimate(1, 10), Estimate(2, 20)]) == Estimate(3, 30)
    assert Estimate.total([Estimate(1, 10), Estimate(None, None)]) == Estimate(None, None)
    assert Estimate.total([]) == Estimate(0, 0)
