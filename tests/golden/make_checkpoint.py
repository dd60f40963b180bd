"""Makes the tiny M3 checkpoint of the golden test: ``python tests/golden/make_checkpoint.py``.

XLM-R with 2 layers, hidden 64, a vocabulary of a few hundred pieces, random weights in fp16. The vocabulary is built
from counts: the trainer of the tokenizers library gives another one from run to run.
"""

import json
import math
from collections import Counter
from pathlib import Path

import torch
from texts import MAX_TOKENS, TEXTS, UNSEEN
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import XLMRobertaConfig, XLMRobertaModel

FOLDER = Path(__file__).parent / "checkpoint"
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
PIECES = 620
HIDDEN = 64


def pieces() -> list[tuple[str, float]]:
    """Unigram pieces with log probabilities, from counts of all word beginnings and single characters."""
    counts: Counter[str] = Counter()
    for position, text in enumerate(TEXTS):
        if position in UNSEEN:
            continue
        plain = text
        for special in [*SPECIAL, "<mask>"]:
            plain = plain.replace(special, " ")
        for word in plain.split():
            marked = f"▁{word}"
            counts.update(marked)
            counts.update(marked[:end] for end in range(2, min(len(marked), 9) + 1))
            counts.update(word[start : start + 3] for start in range(len(word) - 2))
    single = sorted(piece for piece in counts if len(piece) == 1)
    longer = sorted((piece for piece in counts if len(piece) > 1), key=lambda piece: (-counts[piece], piece))
    kept = [*single, *longer[: PIECES - len(single)]]
    total = sum(counts[piece] for piece in kept)
    return [(piece, round(math.log(counts[piece] / total), 6)) for piece in kept]


def save_tokenizer() -> int:
    """Writes the tokenizer's files in the form of BAAI/bge-m3's; returns the number of ids."""
    vocab = [(token, 0.0) for token in SPECIAL] + pieces() + [("<mask>", 0.0)]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False, special=True)])
    # baked in on purpose, shorter than the limit: an encoder must not let it act
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=16, pad_id=1, pad_token="<pad>")
    tokenizer.save(str(FOLDER / "tokenizer.json"), pretty=False)
    mask = {"__type": "AddedToken", "content": "<mask>", "lstrip": True, "normalized": False, "special": True}
    settings = {
        "tokenizer_class": "XLMRobertaTokenizer",
        "model_max_length": MAX_TOKENS,
        "bos_token": "<s>",
        "cls_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "mask_token": mask | {"rstrip": False, "single_word": False},
    }
    (FOLDER / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    return len(vocab)


def save_model(vocab_size: int) -> None:
    """Writes backbone and heads, all in fp16."""
    torch.manual_seed(20240205)
    config = XLMRobertaConfig(
        vocab_size=vocab_size,
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=2 * HIDDEN,
        max_position_embeddings=MAX_TOKENS + 2,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        initializer_range=0.2,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    model = XLMRobertaModel(config, add_pooling_layer=False)
    for name, parameter in model.named_parameters():
        if "LayerNorm" in name or name.endswith("bias"):
            # the defaults 1 and 0 would hide a parameter that is not read
            parameter.data += 0.1 * torch.randn_like(parameter)
    model.half().save_pretrained(FOLDER)
    for name, rows, scale in (("sparse_linear", 1, 0.15), ("colbert_linear", HIDDEN, 0.2)):
        state = {"weight": scale * torch.randn(rows, HIDDEN), "bias": 0.1 * torch.randn(rows)}
        torch.save({key: value.half() for key, value in state.items()}, FOLDER / f"{name}.pt")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    save_model(save_tokenizer())
