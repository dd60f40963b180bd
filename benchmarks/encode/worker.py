"""Worker: one contestant in a process of its own, asked over its standard input: ``python -m encode.worker NAME FOLDER``.

A request is a line of JSON, {"do": ..., "texts": FILE, "out": FILE or null}; so is the answer, with CPU seconds.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

import numpy as np
from common.memory import resident

from encode.contestants import load


def main() -> None:
    """Loads, says so, answers until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    # what libraries print is no answer
    os.dup2(2, 1)
    started = time.process_time()
    contestant = load(sys.argv[1], Path(sys.argv[2]))
    print(json.dumps({"load": time.process_time() - started}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        texts = json.loads(Path(request["texts"]).read_text())
        answer: dict[str, Any] = {}
        if request["do"] == "passages":
            started = time.process_time()
            vectors = contestant.passages(texts)
            answer["seconds"] = time.process_time() - started
            np.save(request["out"], vectors)
        elif request["do"] == "query":
            times = []
            for text in texts:
                started = time.process_time()
                contestant.query(text)
                times.append(time.process_time() - started)
            answer["seconds"] = times
        else:
            # allocators grow at the first texts
            contestant.passages(texts[:4])
            with PeakMemory() as memory:
                started = time.process_time()
                contestant.everything(texts)
                answer["seconds"] = time.process_time() - started
            answer["bytes"] = memory.peak - memory.before
            answer["resident"] = memory.resident
        print(json.dumps(answer), file=answers, flush=True)


class PeakMemory:
    """The most memory of its own that the process has in here; mapped files, which are the model's, do not count."""

    def __enter__(self) -> Self:
        self.before = self.peak = anonymous()
        self.resident = resident("VmRSS")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.peak = max(self.peak, anonymous())
            self.resident = max(self.resident, resident("VmRSS"))


def anonymous() -> int:
    """Resident bytes that belong to no file."""
    return resident("RssAnon")


if __name__ == "__main__":
    main()
