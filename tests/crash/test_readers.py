"""One writer, four reading processes and threads in each: every answer is that of one committed generation."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from live_model import build, given
from running import LONG, note

from m3search import Index
from m3search.storage.stores import store_of

SECONDS = 600 if LONG else 20

READER = """
import json, os, resource, sys, threading, time
sys.path.insert(0, sys.argv[2])
from live_model import QUERY, QUERY_ENCODINGS
from m3search import Index

path, auto = sys.argv[1], sys.argv[3] == "auto"
ended = threading.Event()
seen, wrong, counts = set(), [], []
lock = threading.Lock()
blends = [{"dense": 1}, {"bm25": 1}, {"dense": 1, "lexical": 0.3, "bm25": 0.5}]

def ask(index, number):
    asked, last = 0, False
    while not last:
        last = ended.is_set()  # the writer has ended: once more, then
        if not auto and (last or asked % 5 == 0):
            index.refresh()
        hits = index.search(QUERY, 100, weights=blends[(asked + number) % 3], encodings=QUERY_ENCODINGS)
        # every document of a generation has the version that is the generation's number
        versions = {hit.metadata["version"] for hit in hits}
        with lock:
            if len(versions) > 1 or (blends[(asked + number) % 3] == {"dense": 1} and len(hits) != 12):
                wrong.append([sorted(versions), len(hits)])
            seen.update(versions)
        asked += 1
    counts.append(asked)

def measure():
    with open("/proc/self/statm") as file:
        return len(os.listdir("/proc/self/fd")), int(file.read().split()[1]) * 4096

with Index.open(path, refresh="auto" if auto else "manual") as index:
    threads = [threading.Thread(target=ask, args=(index, number)) for number in range(2)]
    for thread in threads:
        thread.start()
    while not seen:
        time.sleep(0.01)
    print("ready", flush=True)
    sys.stdin.readline()
    half = measure()
    sys.stdin.readline()
    ended.set()
    for thread in threads:
        thread.join()
    told = {"seen": len(seen), "last": max(seen), "wrong": wrong[:3], "asked": sum(counts)}
    print(json.dumps({**told, "half": half, "end": measure()}))
"""


def say(readers, what):
    for reader in readers:
        reader.stdin.write(f"{what}\n")
        reader.stdin.flush()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system has no /proc")
@pytest.mark.timeout(SECONDS * 4 + 300)
def test_answers_never_mix_generations(tmp_path):
    path = tmp_path / "i"
    names = [f"d{number:02}" for number in range(12)]
    build(path, [(name, 0) for name in names])
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    folder = str(Path(__file__).parents[1])
    readers = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", READER, path, folder, kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )
        for kind in ("auto", "manual", "auto", "manual")
    ]
    try:
        assert [reader.stdout.readline() for reader in readers] == ["ready\n"] * 4
        started, version, sizes, compactions, halved = time.monotonic(), 0, [], 0, False
        with Index.open(path, mode="w") as index:
            while time.monotonic() < started + SECONDS or version < 20:
                version += 1
                index.upsert(*given([(name, version) for name in names]))
                sizes.append((store_of(path) / "data.mdb").stat().st_size)
                if version % 100 == 0:
                    index.compact()
                    compactions += 1
                if not halved and time.monotonic() > started + SECONDS / 2:
                    halved = True
                    say(readers, "half")
        say(readers, "end")
        found = [json.loads(reader.communicate(timeout=600)[0]) for reader in readers]
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()
            reader.stdout.close()
            reader.stdin.close()
    assert [one["wrong"] for one in found] == [[]] * 4
    assert all(one["last"] == version for one in found), (version, found)
    assert all(one["seen"] >= 2 for one in found)
    for one in found:
        (files, memory), (files_then, memory_then) = one["half"], one["end"]
        assert files_then <= files + 12  # what a snapshot holds while it is opened
        assert memory_then < memory * 1.5 + 2**25
    # the store grows by what the slowest reader pins, some hundred commits' worth, and then not at all
    assert max(sizes) < 2**24 if len(sizes) < 200 else sizes[-1] <= sizes[len(sizes) // 2] * 1.5
    assert len(list(path.glob("store*"))) == 1
    with Index.open(path) as index:
        assert index.info()["segments"] <= 8
    note(seconds=SECONDS, commits=version, compactions=compactions, answers=sum(one["asked"] for one in found), mixed=0)
