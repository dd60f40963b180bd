"""Document: what encoder and BM25 see of it."""

from __future__ import annotations

import pytest

from m3search import Document


@pytest.mark.parametrize(
    ("title", "text", "content"),
    [("", "text", "text"), ("T", "text", "T\ntext"), ("T", "", "T\n"), ("", "", "")],
)
def test_the_title_stands_on_a_line_of_its_own(title, text, content):
    assert Document("d", text, title).content == content


def test_metadata_is_nobody_elses():
    one, other = Document("a", ""), Document("b", "")
    assert one.metadata is not other.metadata
    with pytest.raises(AttributeError):
        one.text = "new"
