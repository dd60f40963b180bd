"""Texts to vectors: the three outputs of an M3 encoder.

Owns checkpoints, tokenizing, batching, the forward pass and pairwise scores. Imports records and errors; torch,
transformers and tokenizers only when an encoder is loaded. Invariant: outputs come in the order of the texts, in
fp32, whatever the batches were.
"""

from m3search.encoder.encoder import Encoder

__all__ = ["Encoder"]
