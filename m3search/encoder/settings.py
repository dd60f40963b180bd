"""Settings: what the small JSON files beside a checkpoint ask for.

Owns where pooling, length limit and prefixes are looked up. Imports records, errors and its JSON reader. Invariant:
what `m3search.json` says goes before what the files of sentence-transformers and transformers say.

``m3search.json`` is optional and may hold any of ``{"pooling": "cls" | "mean", "max_tokens": 512, "prefixes":
{"query": "query: ", "passage": "passage: "}, "weights": {"dense": 1, "lexical": 0.3}}``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from m3search.encoder.json_files import read_json_if_there
from m3search.errors import CheckpointError, WeightsError
from m3search.records import Weights

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

OWN_FILE = "m3search.json"
SENTENCE_TRANSFORMERS_FILE = "config_sentence_transformers.json"
POOLING_FILE = "1_Pooling/config.json"
LENGTH_FILE = "sentence_bert_config.json"
TOKENIZER_FILE = "tokenizer_config.json"
FILES = (OWN_FILE, SENTENCE_TRANSFORMERS_FILE, POOLING_FILE, LENGTH_FILE, TOKENIZER_FILE)

M3_WEIGHTS = Weights(dense=1.0, lexical=0.3, colbert=1.0)
"""The blend of the BGE-M3 paper for MIRACL and MKQA (section 4.1: w1 = 1, w2 = 0.3, w3 = 1)."""

_OWN_KEYS = {"pooling", "max_tokens", "prefixes", "weights"}
_PASSAGE_PROMPTS = ("passage", "document", "corpus")


@dataclass(frozen=True, slots=True)
class Settings:
    """How a checkpoint wants its texts encoded.

    Attributes:
        pooling: "cls" or "mean".
        max_tokens: tokens of one text, special tokens counted in.
        query_prefix: stands before every query.
        passage_prefix: stands before every passage.
        weights: the recommended blend.
        mask_token: the tokenizer's mask token as text, or "".
    """

    pooling: str
    max_tokens: int
    query_prefix: str
    passage_prefix: str
    weights: Weights
    mask_token: str

    @classmethod
    def read(cls, folder: Path, config: Mapping[str, Any]) -> Settings:
        """The settings of a checkpoint folder.

        Args:
            folder: where the JSON files lie; every one of them may be missing.
            config: the backbone's ``config.json``.

        Raises:
            CheckpointError: a file cannot be read, or asks for something that does not exist.
        """
        own = read_json_if_there(folder / OWN_FILE)
        unknown = sorted(set(own) - _OWN_KEYS)
        if unknown:
            raise CheckpointError(
                f"{folder / OWN_FILE} has the unknown key {unknown[0]!r}: it may hold {', '.join(sorted(_OWN_KEYS))}"
            )
        tokenizer = read_json_if_there(folder / TOKENIZER_FILE)
        query, passage = _prefixes(folder, own)
        return cls(
            pooling=_pooling(folder, own),
            max_tokens=_max_tokens(folder, own, tokenizer, config),
            query_prefix=query,
            passage_prefix=passage,
            weights=_weights(folder, own),
            mask_token=_token_text(tokenizer.get("mask_token")),
        )


def _pooling(folder: Path, own: Mapping[str, Any]) -> str:
    pooling, where = own.get("pooling"), folder / OWN_FILE
    if pooling is None:
        where = folder / POOLING_FILE
        modes = read_json_if_there(where)
        pooling = modes.get("pooling_mode")
        if pooling is None:
            flags = [key for key, value in modes.items() if key.startswith("pooling_mode_") and value is True]
            names = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}
            pooling = "+".join(names.get(flag, flag) for flag in sorted(flags)) or "cls"
    if pooling not in {"cls", "mean"}:
        raise CheckpointError(f'{where} asks for {pooling!r} pooling: m3search knows "cls" and "mean"')
    return str(pooling)


def _max_tokens(folder: Path, own: Mapping[str, Any], tokenizer: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    positions = int(config.get("max_position_embeddings", 512))
    if config.get("model_type") == "xlm-roberta":
        # XLM-R counts positions from the padding id + 1
        positions -= int(config.get("pad_token_id", 1)) + 1
    limit = own.get("max_tokens")
    if limit is not None:
        if isinstance(limit, bool) or not isinstance(limit, int) or not 0 < limit <= positions:
            raise CheckpointError(
                f"{folder / OWN_FILE} sets max_tokens to {limit!r}: give a whole number from 1 to {positions}, "
                "the positions this backbone has"
            )
        return limit
    lengths = read_json_if_there(folder / LENGTH_FILE)
    # tokenizers that know no limit say so with a number above 1e30
    asked = (lengths.get("max_seq_length"), tokenizer.get("model_max_length"))
    limits = [int(value) for value in asked if isinstance(value, (int, float)) and 0 < value < positions]
    return min([positions, *limits])


def _prefixes(folder: Path, own: Mapping[str, Any]) -> tuple[str, str]:
    if "prefixes" in own:
        where, prompts, default = folder / OWN_FILE, own["prefixes"], None
    else:
        where = folder / SENTENCE_TRANSFORMERS_FILE
        file = read_json_if_there(where)
        prompts, default = file.get("prompts") or {}, file.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(prompt, str) for prompt in prompts.values()):
        raise CheckpointError(f'{where} has prefixes that are no texts: write {{"query": "...", "passage": "..."}}')
    other = prompts.get(default, "") if isinstance(default, str) else ""
    passage = next((prompts[name] for name in _PASSAGE_PROMPTS if name in prompts), other)
    return str(prompts.get("query", other)), str(passage)


def _weights(folder: Path, own: Mapping[str, Any]) -> Weights:
    if "weights" not in own:
        return M3_WEIGHTS
    try:
        return Weights.of(own["weights"])
    except WeightsError as error:
        raise CheckpointError(f"the weights in {folder / OWN_FILE} cannot be used: {error}") from error


def _token_text(value: Any) -> str:  # noqa: ANN401 - whatever stands in the JSON file
    """A special token as text; transformers writes it plain or as an object with its content."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""
