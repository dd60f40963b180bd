"""Costs: what token vectors take on the disk, by codec and width."""

from __future__ import annotations

from m3search.records import CODECS
from m3search.storage.token_vectors import token_bytes

DOCUMENTS, TOKENS = 1_000_000, 100
WIDTHS = {"mini": 384, "BGE-M3": 1024}
_OFFSET = 8


def costs() -> dict[str, dict[str, int]]:
    """Encoder -> what is stored -> bytes for `DOCUMENTS` of `TOKENS` each; dense vectors and fp16 beside the codecs."""
    return {
        name: {
            "dense, fp32": DOCUMENTS * 4 * dim,
            "fp16 (no codec)": DOCUMENTS * TOKENS * 2 * dim,
            **{codec: DOCUMENTS * (TOKENS * token_bytes(dim, codec) + _OFFSET) for codec in CODECS},
        }
        for name, dim in WIDTHS.items()
    }
