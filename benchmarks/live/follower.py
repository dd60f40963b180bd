"""A following reader: for each word on standard input it asks until a document has it, and says when that was.

python -m live.follower INDEX
"""

from __future__ import annotations

import sys
import time

from m3search import Index


def main(path: str) -> None:
    """Prints a line when it begins to ask, then one with the time, and what that search and the next took, in seconds."""
    with Index.open(path, refresh="auto") as index:
        index.search("anything", 10, weights={"bm25": 1})
        print("ready", flush=True)
        for line in sys.stdin:
            word = line.strip()
            print("asking", flush=True)
            while True:
                started = time.monotonic()
                hits = index.search(word, 10, weights={"bm25": 1})
                ended = time.monotonic()
                if hits:
                    break
            index.search(word, 10, weights={"bm25": 1})
            print(ended, ended - started, time.monotonic() - ended, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
