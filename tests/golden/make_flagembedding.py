"""Writes FlagEmbedding's own outputs: ``python tests/golden/make_flagembedding.py``.

Run in an environment with FlagEmbedding==1.4.2 (torch 2.13, transformers 5.23 were used), after make_checkpoint.py.
Scores are computed one pair at a time: in a larger batch FlagEmbedding lets padding take part in the multi-vector
maximum.
"""

from pathlib import Path

import numpy as np
from FlagEmbedding import BGEM3FlagModel
from texts import MAX_TOKENS, PAIRS, TEXTS, WEIGHTS

HERE = Path(__file__).parent
SCORES = ["colbert", "sparse", "dense", "sparse+dense", "colbert+sparse+dense"]


def main() -> None:
    """Encodes all texts and scores all pairs on the CPU in fp32."""
    model = BGEM3FlagModel(str(HERE / "checkpoint"), use_fp16=False, devices="cpu")
    out = model.encode(
        TEXTS, batch_size=8, max_length=MAX_TOKENS, return_dense=True, return_sparse=True, return_colbert_vecs=True
    )
    lexical = [sorted((int(key), float(value)) for key, value in row.items()) for row in out["lexical_weights"]]
    pairs = [(TEXTS[query], TEXTS[passage]) for query, passage in PAIRS]
    scores = []
    for weights in WEIGHTS:
        given = model.compute_score(
            pairs,
            batch_size=1,
            max_query_length=MAX_TOKENS,
            max_passage_length=MAX_TOKENS,
            weights_for_different_modes=weights,
        )
        scores.append([given[name] for name in SCORES])
    np.savez_compressed(
        HERE / "flagembedding.npz",
        dense=out["dense_vecs"],
        lexical_indptr=np.cumsum([0, *map(len, lexical)]),
        lexical_ids=np.array([key for row in lexical for key, _ in row], np.int32),
        lexical_weights=np.array([value for row in lexical for _, value in row], np.float32),
        colbert=np.concatenate(out["colbert_vecs"]),
        colbert_indptr=np.cumsum([0, *map(len, out["colbert_vecs"])]),
        scores=np.array(scores),
    )


if __name__ == "__main__":
    main()
