"""Writers that are killed at random moments: 60 here, 1,000 with M3SEARCH_TORTURE."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = 1000 if os.environ.get("M3SEARCH_TORTURE") else 60


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.timeout(60 * KILLS)
def test_no_kill_loses_what_was_acknowledged_or_brings_back_what_was_deleted(tmp_path):
    script = Path(__file__).with_name("killing.py")
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", script, tmp_path, str(KILLS), "1"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.get("wrong", 0) == 0, done.stderr
    assert found["kills"] == KILLS
    assert found["acknowledged"] > KILLS / 4  # the writers came to something
    assert len(found["during"]) >= 5
