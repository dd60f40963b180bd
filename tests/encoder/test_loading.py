"""What loading the embedded model takes, in a fresh process."""

import json
import os
import subprocess
import sys

SCRIPT = """
import json, sys, time
import torch
before = time.process_time()
from m3search import Encoder
encoder = Encoder.load("mini", device="cpu")
encoder.encode(["is it ready?"])
spent = time.process_time() - before
print(json.dumps({"seconds": spent, "modules": sorted({name.partition(".")[0] for name in sys.modules})}))
"""


def test_mini_is_ready_soon_and_needs_no_transformers():
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    found = json.loads(run.stdout)
    assert found["seconds"] < 1.5
    assert not {"transformers", "huggingface_hub", "faiss", "numba", "sympy"} & set(found["modules"])
    assert {"torch", "tokenizers"} <= set(found["modules"])
