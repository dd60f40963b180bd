"""Examples and models of the training's tests."""

import json
from pathlib import Path

import pytest

from m3search.encoder.encoder import locate

CHECKPOINT = Path(__file__).parents[1] / "golden" / "checkpoint"

PAIRS = (
    ("open a zip archive", "the library reads and writes zip archives"),
    ("wait for a thread", "a lock that threads wait for before they go on"),
    ("numbers by chance", "pseudo random numbers from a generator with a seed"),
    ("rows with commas", "files of comma separated values, row after row"),
    ("time of the day", "a clock tells the time in seconds of the day"),
    ("text to bytes", "encode a text into bytes and decode it again"),
    ("walk a folder", "every file of a folder and of the folders in it"),
    ("match a pattern", "regular expressions find a pattern in a text"),
)


@pytest.fixture(scope="session")
def checkpoint():
    """The XLM-R checkpoint of the golden test."""
    return locate(CHECKPOINT)


@pytest.fixture
def examples(tmp_path):
    """A file of eight examples, each with two negatives and a teacher's scores."""
    path = tmp_path / "pairs.jsonl"
    records = []
    for row, (query, passage) in enumerate(PAIRS):
        others = [PAIRS[(row + step) % len(PAIRS)][1] for step in (1, 3)]
        records.append({"query": query, "pos": [passage], "neg": others, "pos_scores": [3.0], "neg_scores": [0.5, 1.0]})
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path
