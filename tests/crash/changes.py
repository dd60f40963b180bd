"""The changes that are made to fail and die: functions of an index, and what it holds before and after."""

from live_model import build, given

MODEL = {f"d{number}": 0 for number in range(12)}
NEW = {f"n{number}": 1 for number in range(5)} | {"d3": 1}


def start(path, *, plain=False):
    """The index that is changed; plain: with half as many files."""
    kinds = {"colbert": "int8", "dense": "flat"} if plain else {"colbert": "int8+bits", "dense": "hnsw"}
    build(path, MODEL.items(), segment_size=8, threads=1, **kinds)


def upsert(index):
    index.upsert(*given(NEW.items()))


def delete(index):
    index.delete(["d1", "d10"])


def merge(index):
    index.merge(1000)


def compact(index):
    index.compact()


CHANGES = {
    "upsert": (upsert, MODEL | NEW),
    "delete": (delete, {name: version for name, version in MODEL.items() if name not in {"d1", "d10"}}),
    "merge": (merge, MODEL),
    "compact": (compact, MODEL),
}
"""Name -> (what is done, what the index holds then)."""
