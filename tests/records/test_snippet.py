"""Snippet: a piece of text as it is shown."""

from __future__ import annotations

from m3search.records import Snippet


def test_marks_stand_around_what_counted():
    snippet = Snippet("a <b> word\n  here", (5, 22), [(6, 10), (13, 17)], (True, False))
    assert snippet.marked() == str(snippet) == "…a <b> **word** **here**"
    assert snippet.marked("[", "]") == "…a <b> [word] [here]"
    assert snippet.html() == "…a &lt;b&gt; <mark>word</mark> <mark>here</mark>"


def test_a_text_without_marks_is_itself():
    assert str(Snippet("", (0, 0))) == ""
    assert str(Snippet("whole text", (0, 10), cut=(False, True))) == "whole text…"
