"""The long runs of this folder's tests, chunk by chunk, and their table.

    python tests/crash/torture.py             # all parts, some hours
    python tests/crash/torture.py kills flips # these parts
    python tests/crash/torture.py --table     # only write the table again

Each chunk is a run of pytest with another seed. What it noted is kept in RESULTS before the next begins, so a run that was
stopped goes on where it stood; `--again` begins a part anew. A chunk that fails ends the run, and is not kept.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "torture.json"
TABLE = ROOT / "docs" / "torture.md"


@dataclass(frozen=True)
class Part:
    """One row of the table.

    Attributes:
        test: file of this folder.
        chunks: how many runs of it.
        fault: what is done to the index.
        held: what each test asserts of every one of them.
    """

    test: str
    chunks: int
    fault: str
    held: str


PARTS = {
    "kills": Part(
        "test_random_kills.py",
        20,
        "SIGKILL at random moments of build, add, upsert, delete, a block of changes, merge, compact and snapshot",
        "nothing acknowledged is lost, nothing deleted comes back; the one operation that was not acknowledged is there as a "
        "whole or not at all",
    ),
    "deaths": Part(
        "test_deaths.py",
        1,
        "SIGKILL at every create, write, flush, fsync, rename and unlink of our own files: an upsert, a merge, a compaction",
        "the old generation or the new one, whole; the next writer finds nothing that no manifest names",
    ),
    "calls": Part(
        "test_system_calls.py",
        1,
        "SIGKILL, EIO, ENOSPC and short writes at every write and sync of LMDB's (strace): upsert, delete, merge, compact",
        "never acknowledged, always surfaced; the writer refuses further work; one generation is whole",
    ),
    "faults": Part(
        "test_faults.py",
        1,
        "ENOSPC, EIO and short writes at every call of our own files: an upsert and a merge",
        "never acknowledged, always surfaced; the old generation is served, its files are the only ones",
    ),
    "full": Part(
        "test_full_disk.py",
        1,
        "a file system (tmpfs) that fills during upsert, delete, merge, compact and build, with 0 to 100 kB left",
        "the message says what is free; the old generation goes on, and with room the next change succeeds",
    ),
    "syncs": Part(
        "test_unsynced.py",
        1,
        "the machine crashes after every sync and keeps only what was synced; then again with each sync left out in turn",
        "with all syncs no crash shows; without one it shows, or the same file or folder is synced again before the commit",
    ),
    "flips": Part(
        "test_damage.py",
        10,
        "flipped bits, and files that are cut, zeroed or swapped",
        "level 2 of `m3search check` finds every one in bytes that are read; no signal reaches who checks",
    ),
    "sequences": Part(
        "test_state_machine.py",
        20,
        "any sequence of add, upsert, delete, blocks, merge, compact, refresh and reopen, 200 steps (hypothesis)",
        "after every step the index is what a dict and brute force say: documents, facts, scores and order",
    ),
    "readers": Part(
        "test_readers.py",
        1,
        "one writer, four reading processes with two threads each, for ten minutes; a compaction every 100 commits",
        "every answer is of one committed generation; memory, descriptors and disk stay flat",
    ),
}


def load():
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}


def keep(results):
    part = RESULTS.with_suffix(".part")
    part.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    part.replace(RESULTS)


def run_chunk(name, number):
    """What one chunk noted, or None where it failed or was skipped."""
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        notes.touch()
        env = {
            **os.environ,
            "M3SEARCH_TORTURE": "1",
            "M3SEARCH_TORTURE_CHUNK": str(number),
            "M3SEARCH_TORTURE_NOTES": str(notes),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        test = str(Path(__file__).with_name(PARTS[name].test))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-rs", test]
        started, before = time.monotonic(), os.times()
        done = subprocess.run(command, cwd=ROOT, env=env, check=False)
        after = os.times()
        figures = Counter()
        for line in notes.read_text(encoding="utf-8").splitlines():
            figures.update(json.loads(line))
    if done.returncode or not figures:
        return None
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {
        "date": time.strftime("%Y-%m-%d"),
        "seconds": round(time.monotonic() - started),
        "cpu_seconds": round(cpu),
        "figures": dict(figures),
    }


def table(results):
    """The page."""
    about = (
        "What `make torture` did to indexes and what held, made by `tests/crash/torture.py` from "
        "`benchmarks/results/torture.json`. `make torture PART=kills` runs one part; a run that was stopped goes on where it "
        "stood. `make test` runs the same tests at smaller sizes."
    )
    lines = [
        "# Tortured",
        "",
        about,
        "",
        "| part | fault | what held, every time | how often | CPU |",
        "|---|---|---|---|---:|",
    ]
    for name, part in PARTS.items():
        chunks = results.get(name, {})
        figures = Counter()
        for chunk in chunks.values():
            figures.update(chunk["figures"])
        done = ", ".join(f"{figures[key]:,} {key}" for key in figures) if figures else "not run yet"
        if chunks and len(chunks) < part.chunks:
            done += f" ({len(chunks)} of {part.chunks} chunks)"
        minutes = sum(chunk["cpu_seconds"] for chunk in chunks.values()) / 60
        lines.append(f"| {name} | {part.fault} | {part.held} | {done} | {minutes:,.0f} min |")
    dates = sorted({chunk["date"] for chunks in results.values() for chunk in chunks.values()})
    lines += ["", f"Run on {dates[0]}{' to ' + dates[-1] if len(dates) > 1 else ''}." if dates else "", ""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description="The long runs of the crash tests, and their table.")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--table", action="store_true", help="only write the table again")
    parser.add_argument("--again", action="store_true", help="forget what is kept of these parts")
    args = parser.parse_args()
    unknown = sorted(set(args.parts) - set(PARTS))
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}: give some of {', '.join(PARTS)}")
    for name in [] if args.table else args.parts or PARTS:
        results = load()
        if args.again:
            results.pop(name, None)
        for number in range(PARTS[name].chunks):
            if str(number) in results.get(name, {}):
                continue
            print(f"{name}: chunk {number + 1} of {PARTS[name].chunks}", flush=True)
            found = run_chunk(name, number)
            if found is None:
                sys.exit(f"{name}: chunk {number} failed, or was skipped; see above")
            results = load()
            results.setdefault(name, {})[str(number)] = found
            keep(results)
            TABLE.write_text(table(results), encoding="utf-8")
    TABLE.write_text(table(load()), encoding="utf-8")


if __name__ == "__main__":
    main()
