"""What was left out is counted, listed to a limit, and said once."""

from __future__ import annotations

import json

import pytest

from m3search.errors import DocumentError, EncodingsError, InputError, SourceError
from m3search.indexing.report import EmptyReport, SkipReport, check_on_error


def test_skipped_records_are_counted_and_the_first_are_kept():
    report = SkipReport(limit=3)
    assert not report
    assert report.summary() == "no record was skipped"
    report.add(SourceError("a.jsonl:2: broken JSON", where="a.jsonl:2", kind="broken JSON"))
    for n in range(4):
        report.add(DocumentError(f"a.jsonl:{n} (id 'x'): no text", where=f"a.jsonl:{n}", doc_id="x", kind="no text"))
    report.add(EncodingsError("NaN"))
    assert report
    assert report.count == 6
    assert report.to_dict() == {
        "count": 6,
        "kinds": {"no text": 4, "broken JSON": 1, "EncodingsError": 1},
        "records": [
            {"where": "a.jsonl:2", "id": "", "kind": "broken JSON", "reason": "a.jsonl:2: broken JSON"},
            {"where": "a.jsonl:0", "id": "x", "kind": "no text", "reason": "a.jsonl:0 (id 'x'): no text"},
            {"where": "a.jsonl:1", "id": "x", "kind": "no text", "reason": "a.jsonl:1 (id 'x'): no text"},
        ],
    }
    json.dumps(report.to_dict())
    assert report.summary(lines=2).split("\n") == [
        "6 records skipped (no text: 4, broken JSON: 1, EncodingsError: 1)",
        "  a.jsonl:2: broken JSON",
        "  a.jsonl:0 (id 'x'): no text",
        "  ... and 4 more",
    ]


def test_one_record_is_not_plural():
    report = SkipReport()
    report.add(SourceError("x:1: y", where="x:1", kind="y"))
    assert report.summary() == "1 record skipped (y: 1)\n  x:1: y"


def test_empty_documents_make_one_sentence():
    report = EmptyReport(limit=2)
    assert not report
    report.add("a")
    assert report.summary().startswith("1 document has no text and will not be found by a search, only by id: 'a'; ")
    for n in range(1500):
        report.add(f"b{n}")
    assert report.summary().startswith("1,501 documents have no text")
    assert "'a', 'b0', ...;" in report.summary()
    assert report.to_dict() == {"count": 1501, "ids": ["a", "b0"]}


def test_on_error_is_one_of_two():
    assert check_on_error("raise") == "raise"
    assert check_on_error("skip") == "skip"
    with pytest.raises(InputError, match="on_error is 'ignore': give 'raise'"):
        check_on_error("ignore")
