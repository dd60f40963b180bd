"""A trained folder in FlagEmbedding itself; skipped where that is not installed (benchmarks/encode/peers.txt has it).

python -m pytest tests/training/test_flagembedding.py    # in the environment of `make bench-encode`, with pytest
"""

import numpy as np
import pytest

from m3search import Encoder
from m3search.training import Training, fit

pytestmark = pytest.mark.filterwarnings("ignore")

SCORES = ("colbert", "sparse", "dense", "sparse+dense", "colbert+sparse+dense")
TEXTS = ("open a zip archive", "the library reads and writes zip archives", "a", "wait wait wait for a thread")


def test_flagembedding_loads_it_and_scores_the_same(examples, checkpoint, tmp_path):
    flag_embedding = pytest.importorskip("FlagEmbedding", reason="FlagEmbedding is in the peers' environment only")
    folder = tmp_path / "out"
    training = Training(epochs=3, batch=4, group=2, learning_rate=3e-3, device="cpu")
    fit(examples, folder, model=checkpoint.folder, training=training, progress=False)
    theirs = flag_embedding.BGEM3FlagModel(str(folder), use_fp16=False, devices="cpu")
    ours = Encoder.load(folder, device="cpu")
    before = Encoder.load(checkpoint.folder, device="cpu")
    pairs = [(one, other) for one in TEXTS for other in TEXTS]
    # one pair at a time: in a larger batch its padding takes part in the multi-vector maximum
    found = theirs.compute_score(pairs, batch_size=1, weights_for_different_modes=[0.4, 0.2, 0.4])
    scores = ours.compute_score(pairs, [0.4, 0.2, 0.4])
    old = before.compute_score(pairs, [0.4, 0.2, 0.4])
    for name in SCORES:
        np.testing.assert_allclose(scores[name], found[name], rtol=0, atol=1e-5)
        assert np.abs(np.subtract(scores[name], old[name])).max() > 1e-3
