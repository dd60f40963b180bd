"""A tiny BERT-backbone M3 checkpoint, written to a folder."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

SPECIAL = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}
WORDS = ["the", "dog", "fox", "##s", "query", "passage", ":", "open", "read", "file", "zip", "library", "late", "long"]
HIDDEN = 32


def write_bert(folder: Path, *, vocab_size: int = 64, pooling: str = "cls", extra: dict | None = None) -> Path:
    """Writes config, tokenizer, random weights and heads; `extra` becomes m3search.json."""
    folder.mkdir(parents=True, exist_ok=True)
    vocab = SPECIAL | {word: position for position, word in enumerate(WORDS, start=len(SPECIAL))}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"mask_token": "[MASK]", "model_max_length": 32}))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"pooling_mode_cls_token": pooling == "cls", "pooling_mode_mean_tokens": pooling == "mean"})
    )
    if extra is not None:
        (folder / "m3search.json").write_text(json.dumps(extra))
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=vocab_size,
        hidden_size=HIDDEN,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=HIDDEN,
        max_position_embeddings=40,
        initializer_range=0.3,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    # a bias of 1 keeps every token's lexical weight above 0
    for name, rows, bias in (("sparse_linear", 1, 1.0), ("colbert_linear", 16, 0.0)):
        state = {"weight": 0.02 * torch.randn(rows, HIDDEN), "bias": torch.full((rows,), bias)}
        save_file(state, folder / f"{name}.safetensors")
    return folder
