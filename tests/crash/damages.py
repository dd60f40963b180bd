"""Damages copies of an index, and holds what level 2 of the check says of each to what every key and file then is.

    PYTHONPATH=tests python tests/crash/damages.py FOLDER COUNT SEED

A fork damages nothing that this process has open; each check and each look runs in a fork of its own, so what damage does to a
process is seen as its end. Prints one line of JSON with how many damages there were of each kind, how many were found, how many
changed nothing that is read, and which were missed.
"""

import contextlib
import io
import json
import random
import shutil
import sys
from collections import Counter
from pathlib import Path

from forks import in_a_fork, prepare
from live_model import build, given

from m3search import Index
from m3search.storage import check
from m3search.storage.codec import checksum

SAME, OTHER = 0, 1


def sound(path):
    """An index of several segments, with dead documents, a graph, and free pages."""
    build(path, [(f"d{n}", 0) for n in range(40)], segment_size=30, dense="hnsw", colbert="int8+bits", threads=1)
    with Index.open(path, mode="w", merging="manual") as index:
        index.add(*given([(f"n{n}", 1) for n in range(12)]))
        index.upsert(*given([(f"d{n}", 2) for n in range(6)]))
        index.delete(["n3", "d20"])


def content(path):
    """A checksum of every key and every file that the generation has, by another way than the check takes."""
    digest = []
    with Index.open(path) as index, index._reading() as snapshot:
        manifest = snapshot.value(b"rmanifest")
        digest.append(bytes(manifest))
        digest.extend(bytes(key) + bytes(value) for key, value in snapshot.items())
        for segment in snapshot.segments:
            digest.extend(
                (path / "segments" / segment.info.file_name(suffix)).read_bytes() for suffix in segment.info.files
            )
    return checksum(*digest)


def damage(path, rng):
    """Damage one file of an index, or two: the kind of damage, or None where it came to nothing."""
    files = sorted([path / "store" / "data.mdb", *(path / "segments").iterdir()])
    weights = [max(file.stat().st_size, 1) ** 0.5 for file in files]
    (one,) = rng.choices(files, weights)
    data = bytearray(one.read_bytes())
    before = bytes(data)
    kind = rng.choice(["flip", "flip", "flip", "cut", "zero", "swap"])
    if kind == "flip":
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del data[rng.randrange(len(data)) :]
    elif kind == "zero":
        start = rng.randrange(len(data))
        length = rng.choice([64, 4096, len(data)])
        data[start : start + length] = bytes(len(data[start : start + length]))
    else:
        other = rng.choice([file for file in files if file.suffix == one.suffix and file != one] or [one])
        if other == one:  # two pages of the one store change places
            pages = len(data) // 4096
            here, there = (4096 * rng.randrange(pages) for _ in range(2))
            data[here : here + 4096], data[there : there + 4096] = data[there : there + 4096], data[here : here + 4096]
        else:
            data = bytearray(other.read_bytes())
            other.write_bytes(before)
    one.write_bytes(bytes(data))
    return f"{kind} of {'store' if one.name == 'data.mdb' else one.suffix[1:]}" if bytes(data) != before else None


def found(path):
    """Whether level 2 finds anything; it prints in this fork what it prints in a process of its own."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        check.main(str(path), "2")
    lines = [json.loads(line) for line in said.getvalue().splitlines()]
    return OTHER if any("what" in line or "failed" in line for line in lines) else SAME


def main(folder, count, seed):
    base, path = Path(folder) / "sound", Path(folder) / "i"
    notes = Path(folder) / "content"
    prepare()
    assert in_a_fork(lambda: sound(base)) == 0
    assert in_a_fork(lambda: notes.write_bytes(content(base)) and 0) == 0
    expected = notes.read_bytes()
    (base / "store" / "lock.mdb").unlink()
    assert in_a_fork(lambda: found(base)) == SAME
    rng = random.Random(seed)
    kinds, signals, missed, totals = Counter(), Counter(), [], Counter()
    while totals["damages"] < count:
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(base, path)
        kind = damage(path, rng)
        if kind is None:
            continue
        totals["damages"] += 1
        kinds[kind] += 1
        said = in_a_fork(lambda: found(path))
        if said < 0:  # a process of its own ended with a signal, which is a finding
            signals[-said] += 1
        if said != SAME:
            totals["found"] += 1
        elif in_a_fork(lambda: SAME if content(path) == expected else OTHER) == SAME:
            totals["not live"] += 1
        else:
            missed.append([totals["damages"], kind])
    print(json.dumps({**totals, "missed": missed, "kinds": kinds, "signals": signals}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
