"""Kills writers at random moments and holds what is left to a dict: nothing acknowledged is lost, nothing deleted comes back.

    PYTHONPATH=tests python tests/crash/killing.py FOLDER KILLS SEED

Each round forks a process that changes the index and says over a pipe what it is about to do and what was acknowledged; it is
killed some milliseconds later. Another fork then opens what is left, reads every byte and compares it with the dict. The one
operation that was not acknowledged may be there or not, as a whole. This process itself opens no index: LMDB does not outlive
a fork.
"""

import json
import os
import random
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

from forks import fork, in_a_fork, kill, prepare
from live_model import build, check, given

from m3search import Index

NAMES = [f"d{number:03}" for number in range(60)]
KINDS = ["add", "upsert", "delete", "block", "merge", "compact", "snapshot", "build"]
CHANCES = [6, 6, 5, 4, 2, 2, 1, 1]


def next_operation(rng, model, version):
    """(kind, what): plain values, so that both sides of the pipe know what it does."""
    kind = rng.choices(KINDS, CHANCES)[0]
    some = rng.sample(NAMES, rng.randint(1, 12))
    if kind == "add":
        return kind, {name: version for name in some if name not in model}
    if kind == "delete":
        return kind, [name for name in some if name in model]
    if kind == "block":
        return kind, [[name for name in some[:5] if name in model], dict.fromkeys(some[3:], version)]
    return kind, dict.fromkeys(some, version)


def after(model, kind, what):
    """What the index holds once the operation is done."""
    if kind in {"add", "upsert"}:
        return model | what
    if kind == "delete":
        return {name: version for name, version in model.items() if name not in what}
    if kind == "block":
        return {name: version for name, version in model.items() if name not in what[0]} | what[1]
    return dict(what) if kind == "build" else model


def perform(index, path, kind, what):
    """Do it with an index that is open for writing; a build replaces the index: it comes back open anew."""
    if kind == "build":
        index.close()
        build(path, what.items(), segment_size=8, overwrite=True)
        return Index.open(path, mode="w")
    if kind == "add":
        index.add(*given(what.items()))
    elif kind == "upsert":
        index.upsert(*given(what.items()))
    elif kind == "delete":
        index.delete(what)
    elif kind == "merge":
        index.merge(len(what) * 4)
    elif kind == "compact":
        index.compact()
    elif kind == "snapshot":
        index.save(path.with_name(f"copy-{time.time_ns()}"))
    else:
        with index.writer() as writer:
            writer.delete(what[0])
            writer.upsert(*given(what[1].items()))
    return index


def change(path, model, seed, pipe):
    """Change the index until somebody kills this process."""
    rng = random.Random(seed)
    version = seed * 1000
    index = Index.open(path, mode="w")
    os.write(pipe, b'["open"]\n')
    while True:
        version += 1
        kind, what = next_operation(rng, model, version)
        os.write(pipe, (json.dumps(["begin", kind, what]) + "\n").encode())
        index = perform(index, path, kind, what)
        os.write(pipe, b'["done"]\n')
        model = after(model, kind, what)


def judge(path, models):
    """The place of the model that the index holds; a copy beside it is whole or not there."""
    for copy in path.parent.glob("copy-*"):
        if copy.suffix != ".part":
            with Index.open(copy, verify=True) as index:
                len(index)
        shutil.rmtree(copy)
    stores = [entry for entry in path.glob("store*") if not entry.name.endswith((".part", ".gone"))]
    assert len(stores) <= 2, stores
    with Index.open(path, verify=True) as index:
        held = {document.id: document.metadata["version"] for document in index}
        if held not in models:
            sys.stderr.write(f"held {held}, expected {models}\n")
            return 10
        check(index, held, blends=[{"dense": 1, "lexical": 0.3, "bm25": 0.5}])
    return models.index(held)


def kill_one(path, model, rng, seed):
    """A writer that is killed: what it had begun, and the models that the index may hold now."""
    reading, writing = os.pipe()
    child = fork(lambda: (os.close(reading), change(path, model, seed, writing)))
    os.close(writing)
    with os.fdopen(reading) as lines:
        assert json.loads(lines.readline()) == ["open"]
        time.sleep(rng.uniform(0, 0.3))
        kill(child)
        said = [json.loads(line) for line in lines if line.endswith("\n")]
    begun, done = None, 0
    for line in said:
        if line[0] == "begin":
            begun = line[1:]
        else:
            model = after(model, *begun)
            begun, done = None, done + 1
    return model, begun, done


def main(folder, kills, seed):
    """Prints what became of every kill, as one line of JSON."""
    rng = random.Random(seed)
    path = Path(folder) / "i"
    prepare()
    model = dict.fromkeys(NAMES[:20], 0)
    assert in_a_fork(lambda: build(path, model.items(), segment_size=8)) == 0
    totals, during = Counter(), Counter()
    for number in range(kills):
        model, begun, done = kill_one(path, model, rng, seed * 100_000 + number)
        models = [model] if begun is None else [model, after(model, *begun)]
        found = in_a_fork(lambda: judge(path, models))  # noqa: B023 - called at once
        during[begun[0] if begun else "between"] += 1
        totals["acknowledged"] += done
        totals["wrong" if found not in range(len(models)) else ("old" if found == 0 else "new")] += 1
        if found in range(len(models)):
            model = models[found]
        else:
            break
    print(json.dumps({"kills": sum(during.values()), **totals, "during": dict(during)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
