"""Snapshots of small indexes for the planner's tests."""

from __future__ import annotations

import itertools
from contextlib import ExitStack

import pytest

from m3search import Index
from m3search.storage import Environment, Snapshot


@pytest.fixture(scope="module")
def snapshot_of(tmp_path_factory):
    """(documents, encodings, segment_size, deleted ids) -> an open Snapshot, closed when the module is done."""
    numbers = itertools.count()
    with ExitStack() as stack:

        def build(documents, encodings, segment_size=7, deleted=(), *, bm25=True, codec="int8"):
            path = tmp_path_factory.mktemp("planning") / f"{next(numbers)}"
            colbert = None if encodings is None or encodings.colbert is None else codec
            Index.build(
                documents,
                path,
                encoder=None,
                encodings=encodings,
                colbert=colbert,
                segment_size=segment_size,
                bm25=bm25,
            ).close()
            if deleted:
                with Index.open(path, mode="w", merging="manual") as index:
                    index.delete(deleted)
            environment = Environment.open(path / "store")
            stack.callback(environment.close)
            return stack.enter_context(Snapshot.latest(environment, path))

        yield build
