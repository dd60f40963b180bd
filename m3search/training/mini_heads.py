r"""The two heads of the embedded model "mini", made from a file of documents.

Owns the fit and the files it writes. Imports encoder, errors and numpy. Invariant: the same documents give the same
files, byte for byte on one machine; values are rounded to fp16, so that other machines differ in the last digit at most.

The lexical head is fitted by ridge regression: token states h of the frozen backbone to the idf of the token they
stand for, so that a token weighs what it is worth in its context. The multi-vector head is the identity, with which
MaxSim over the frozen states already works. Run it over the demo's text with::

    python -m m3search.demo > documents.jsonl
    python -m m3search.training.mini_heads --documents documents.jsonl
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from m3search.encoder import mini
from m3search.encoder.backbone import Backbone, pad_id
from m3search.encoder.batching import token_batches
from m3search.encoder.head import COLBERT, SPARSE
from m3search.encoder.tokenizer import TextTokenizer, checked_texts
from m3search.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

LARGEST = 0.3
"""What the rarest token's target weighs: the size of BGE-M3's own weights, so that one blend suits both."""

RIDGE = 1.0
"""Penalty on the squared weights, per 1,000 tokens."""

_BUDGET = 4096


def read_texts(path: Path) -> list[str]:
    r"""The texts of a JSONL file, ``title\ntext`` where a line has a title.

    Raises:
        SourceError: the file cannot be read, is empty, or a line is no object with a text.
    """
    texts: list[str] = []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} cannot be read ({error}): give a JSONL file of documents") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise SourceError(f"{path}:{number} is no JSON ({error}): write one object a line") from error
        if not isinstance(record, dict) or not isinstance(record.get("text"), str):
            raise SourceError(f'{path}:{number} has no text: write {{"text": "..."}}')
        title = record.get("title") or ""
        texts.append(f"{title}\n{record['text']}" if title else record["text"])
    if not texts:
        raise SourceError(f"{path} has no documents: give a JSONL file with one document a line")
    return texts


def inverse_document_frequency(ids: Sequence[NDArray[np.int32]], vocab_size: int) -> NDArray[np.float64]:
    """Lucene's idf of every token id, ln(1 + (N - df + 0.5) / (df + 0.5)), never negative.

    Args:
        ids: N arrays of token ids.
        vocab_size: number of ids.

    Returns:
        f64[vocab_size].
    """
    frequency = np.zeros(vocab_size)
    for row in ids:
        frequency[np.unique(row)] += 1
    return np.asarray(np.log1p((len(ids) - frequency + 0.5) / (frequency + 0.5)), np.float64)


def fit_ridge(
    batches: Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]], *, hidden: int, ridge: float
) -> tuple[NDArray[np.float64], float, float]:
    """Least squares with a penalty on the weights and none on the bias.

    Args:
        batches: states f64[t, hidden] and targets f64[t].
        hidden: width of a state.
        ridge: the penalty, per 1,000 tokens.

    Returns:
        Weights f64[hidden], bias, and the share of the targets' variance that is explained.
    """
    gram, moment = np.zeros((hidden + 1, hidden + 1)), np.zeros(hidden + 1)
    count, total, squares = 0, 0.0, 0.0
    for states, targets in batches:
        # the bias is a weight of a state that is always 1
        rows = np.concatenate([states, np.ones((len(states), 1))], axis=1)
        gram += rows.T @ rows
        moment += rows.T @ targets
        count += len(targets)
        total += float(targets.sum())
        squares += float((targets**2).sum())
    penalty = np.full(hidden + 1, ridge * count / 1000)
    penalty[-1] = 0.0
    solution: NDArray[np.float64] = np.asarray(np.linalg.solve(gram + np.diag(penalty), moment), np.float64)
    residual = squares - 2 * solution @ moment + solution @ gram @ solution
    return solution[:-1], float(solution[-1]), float(1 - residual / (squares - total**2 / count))


def make_heads(texts: Sequence[str], output: Path, *, source: str) -> dict[str, object]:
    """Fits both heads and writes them with a note of where they come from.

    Args:
        texts: the documents.
        output: folder of the two ``.safetensors`` files and ``provenance.json``.
        source: what the documents are, for the note.

    Returns:
        The note.
    """
    import torch
    from safetensors.numpy import save_file

    output.mkdir(parents=True, exist_ok=True)
    hidden = 384
    zeros = np.zeros(hidden, np.float16)
    save_file({"weight": np.eye(hidden, dtype=np.float16), "bias": zeros}, output / f"{COLBERT}.safetensors")
    # the checkpoint is only complete with both heads there
    save_file({"weight": zeros[None], "bias": zeros[:1]}, output / f"{SPARSE}.safetensors")

    checkpoint = mini.find_mini(heads=output)
    vocab_size = int(checkpoint.config["vocab_size"])
    tokenizer = TextTokenizer(
        checkpoint.tokenizer,
        max_tokens=mini.MAX_TOKENS,
        pad_id=pad_id(checkpoint),
        vocab_size=vocab_size,
        mask_token=checkpoint.settings.mask_token,
    )
    backbone = Backbone(checkpoint, device="cpu", dtype="fp32")
    tokens = tokenizer.tokenize(checked_texts(texts, "document"))
    idf = inverse_document_frequency(tokens.ids, vocab_size)
    targets = idf * (LARGEST / idf.max())

    def batches() -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        for batch in token_batches(tokens.lengths, _BUDGET, padded=False):
            rows = [tokens.ids[row] for row in batch]
            with torch.inference_mode():
                states = backbone.states(rows)
            ids = np.concatenate(rows)
            words = ~np.isin(ids, tokenizer.wordless)
            yield states.double().numpy()[words], targets[ids[words]]

    weight, bias, explained = fit_ridge(batches(), hidden=hidden, ridge=RIDGE)
    save_file(
        {"weight": weight.astype(np.float16)[None], "bias": np.array([bias], np.float16)},
        output / f"{SPARSE}.safetensors",
    )
    note: dict[str, object] = {
        "model": mini.HUB_NAME,
        "model_sha256": mini.SHA256,
        "documents": source,
        "documents_count": len(texts),
        "documents_sha256": hashlib.sha256("\0".join(texts).encode("utf-8")).hexdigest(),
        "tokens": int(tokens.lengths.sum()),
        SPARSE: f"ridge regression of token states to idf, penalty {RIDGE:g} per 1,000 tokens, largest target {LARGEST:g}",
        "explained_variance": round(explained, 4),
        COLBERT: "identity",
    }
    (output / "provenance.json").write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
    return note


def main() -> None:
    """The command line: reads documents, writes the heads, prints the note."""
    parser = argparse.ArgumentParser(description="Fit the heads of the embedded model over a file of documents.")
    parser.add_argument("--documents", type=Path, required=True, help='JSONL, one {"text": ..., "title"?: ...} a line')
    parser.add_argument("--output", type=Path, default=mini.HEADS, help="folder for the heads (default: the package's)")
    parser.add_argument("--source", default="docstrings of the Python standard library", help="what the documents are")
    arguments = parser.parse_args()
    note = make_heads(read_texts(arguments.documents), arguments.output, source=arguments.source)
    print(json.dumps(note, indent=2))


if __name__ == "__main__":
    main()
