r"""The two heads of the embedded model "mini", made from pairs of a short and a long text over its frozen backbone.

Owns the fit and the files it writes. Imports encoder, errors, its neighbours, numpy and torch. Invariant: the same pairs
and seed give the same heads on one machine with one thread; values are rounded to fp16.

The lexical head begins as a ridge regression of token states to the idf of the token they stand for, so that a token weighs
what it is worth in its context, and then learns by contrast: a short text is to score higher with its long one than with
those of its neighbours. The multi-vector head is the identity; a narrower one keeps the directions in which normalised states
differ most. Run it with::

    python -m m3search.training.mini_text --output pairs.jsonl
    OMP_NUM_THREADS=1 python -m m3search.training.mini_heads --pairs pairs.jsonl
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from m3search.encoder import mini
from m3search.encoder.backbone import Backbone, pad_id
from m3search.encoder.batching import token_batches
from m3search.encoder.head import COLBERT, SPARSE
from m3search.encoder.tokenizer import TextTokenizer, checked_texts
from m3search.errors import InputError
from m3search.training.examples import Example, read_examples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch
    from numpy.typing import NDArray

    from m3search.encoder.checkpoint import Checkpoint
    from m3search.training.lexical_scores import LexicalTokens

LARGEST = 0.3
"""What the largest of a thousand weights is: the size of BGE-M3's own, so that one blend suits both."""

RIDGE = 1.0
"""Penalty on the squared weights, per 1,000 tokens."""

QUERY_TOKENS, PASSAGE_TOKENS = 48, 112
LIMIT = 18_000
"""Pairs that are used: more changed nothing."""

STEPS, BATCH, NEIGHBOURS, RATE = 600, 128, 7, 3e-3
_NEAREST = 24
_BUDGET = 4096
_START = 0.5
"""What the rarest token weighs at the first step: the loss has no temperature but the weights' own size."""


@dataclass(frozen=True, slots=True)
class States:
    """Token states of n texts.

    Attributes:
        values: f16[t, hidden], text after text.
        ids: i32[t].
        offsets: i64[n + 1].
        words: bool[t], which tokens carry a word.
    """

    values: NDArray[np.float16]
    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    words: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def pooled(self) -> NDArray[np.float32]:
        """f32[n, hidden], the dense vectors."""
        means = np.empty((len(self), self.values.shape[1]), np.float32)
        for text in range(len(self)):
            means[text] = self.values[self.offsets[text] : self.offsets[text + 1]].astype(np.float32).mean(axis=0)
        return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32)


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


def principal_directions(states: States, dim: int) -> tuple[NDArray[np.float64], float]:
    """The orthonormal directions that keep most of the products of normalised states.

    Args:
        states: of passages.
        dim: how many.

    Returns:
        f64[dim, hidden], each with a positive largest component, and the share of the squared length that they keep.
    """
    gram = np.zeros((states.values.shape[1],) * 2)
    for start in range(0, len(states.ids), 65536):
        rows = states.values[start : start + 65536].astype(np.float64)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        gram += rows.T @ rows
    values, vectors = np.linalg.eigh(gram)
    directions = vectors[:, ::-1][:, :dim].T
    largest = np.abs(directions).argmax(axis=1)
    directions = directions * np.sign(directions[np.arange(dim), largest])[:, None]
    return directions, float(values[::-1][:dim].sum() / values.sum())


def learn_lexical(
    queries: States, passages: States, weight: NDArray[np.float64], bias: float, *, steps: int, seed: int
) -> tuple[NDArray[np.float64], float, list[float]]:
    """Goes on from a first head by contrast, over batches of neighbours.

    Args:
        queries: n short texts.
        passages: the n long ones that belong to them.
        weight: f64[hidden] to begin with.
        bias: the same.
        steps: of Adam; the rate rises for a twentieth of them and then falls to 0.
        seed: of the batches.

    Returns:
        Weights f64[hidden], bias, and the loss of each step.
    """
    import torch

    from m3search.training.lexical_scores import lexical_scores

    learned = torch.tensor(weight, dtype=torch.float32).requires_grad_()
    offset = torch.tensor(bias, dtype=torch.float32).requires_grad_()
    scale = torch.tensor(1.0).requires_grad_()
    optimiser = torch.optim.Adam([learned, offset, scale], lr=RATE)
    warmup = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, (step + 1) / warmup) * (1 - step / max(1, steps))
    )
    losses = []
    for batch in _batches(passages.pooled(), steps, seed):
        scores = lexical_scores(*(_tokens(side, batch, learned, offset) for side in (queries, passages))) * scale.exp()
        own = torch.arange(len(batch))
        loss = torch.nn.functional.cross_entropy(scores, own) + 0.2 * torch.nn.functional.cross_entropy(scores.T, own)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
    return learned.detach().double().numpy(), float(offset.detach()), losses


def _batches(pooled: NDArray[np.float32], steps: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Rows of texts in small groups of neighbours: what is far apart teaches little."""
    generator = np.random.default_rng(seed)
    count = min(BATCH, len(pooled))
    for _ in range(steps):
        rows: dict[int, None] = {}
        while len(rows) < count:
            first = int(generator.integers(len(pooled)))
            nearest = np.argsort(-(pooled @ pooled[first]), kind="stable")[1 : 1 + _NEAREST]
            for row in (first, *generator.permutation(nearest)[:NEIGHBOURS].tolist()):
                if len(rows) < count:
                    rows[row] = None
        yield np.array(list(rows), np.int64)


def _tokens(side: States, rows: NDArray[np.int64], weight: torch.Tensor, bias: torch.Tensor) -> LexicalTokens:
    import torch

    from m3search.training.lexical_scores import LexicalTokens

    counts = side.offsets[rows + 1] - side.offsets[rows]
    places = np.concatenate([np.arange(side.offsets[row], side.offsets[row + 1]) for row in rows])
    weights = torch.relu(torch.from_numpy(side.values[places].astype(np.float32)) @ weight + bias)
    return LexicalTokens(
        torch.from_numpy(np.repeat(np.arange(len(rows)), counts)),
        torch.from_numpy(side.ids[places].astype(np.int64)),
        weights * torch.from_numpy(side.words[places]),
        len(rows),
    )


def make_heads(
    examples: Sequence[Example], output: Path, *, source: str, dim: int | None = None, steps: int = STEPS, seed: int = 0
) -> dict[str, object]:
    """Fits both heads and writes them with a note of where they come from.

    Args:
        examples: pairs; of several positives the first counts.
        output: folder of the two ``.safetensors`` files and ``provenance.json``.
        source: what the texts are, for the note.
        dim: width of the multi-vector head; None: the identity.
        steps: of the lexical head's contrast.
        seed: of its batches.

    Returns:
        The note.

    Raises:
        InputError: fewer than two examples, or a width that the backbone does not have.
    """
    from safetensors.numpy import save_file

    hidden = 384
    if len(examples) < 2:
        raise InputError("heads need at least two pairs: one is held against the other")
    if dim is not None and not 1 <= dim <= hidden:
        raise InputError(f"the multi-vector head cannot have {dim} dimensions: 1 to {hidden}, or None")
    output.mkdir(parents=True, exist_ok=True)
    zeros = np.zeros(hidden, np.float16)
    # the checkpoint is only complete with both heads there
    save_file({"weight": np.eye(hidden, dtype=np.float16), "bias": zeros}, output / f"{COLBERT}.safetensors")
    save_file({"weight": zeros[None], "bias": zeros[:1]}, output / f"{SPARSE}.safetensors")
    checkpoint = mini.find_mini(heads=output)
    texts = [example.query for example in examples], [example.positives[0] for example in examples]
    with tempfile.TemporaryDirectory(prefix="m3search-") as scratch:
        queries, passages = (
            _states(checkpoint, side, limit, Path(scratch) / f"{limit}.states")
            for side, limit in zip(texts, (QUERY_TOKENS, PASSAGE_TOKENS), strict=True)
        )
        rows = np.split(passages.ids, passages.offsets[1:-1])
        idf = inverse_document_frequency(rows, int(checkpoint.config["vocab_size"]))

        def batches() -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
            for start in range(0, len(passages.ids), 65536):
                words = passages.words[start : start + 65536]
                states = passages.values[start : start + 65536][words].astype(np.float64)
                yield states, idf[passages.ids[start : start + 65536][words]] * (_START / idf.max())

        weight, bias, explained = fit_ridge(batches(), hidden=hidden, ridge=RIDGE)
        weight, bias, losses = learn_lexical(queries, passages, weight * 3, bias * 3, steps=steps, seed=seed)
        high = np.quantile(np.maximum(passages.values[: 10**6].astype(np.float32) @ weight + bias, 0), 0.999)
        weight, bias = weight * (LARGEST / high), bias * (LARGEST / high)
        directions, kept = (np.eye(hidden), 1.0) if dim is None else principal_directions(passages, dim)
    save_file(
        {"weight": weight.astype(np.float16)[None], "bias": np.array([bias], np.float16)},
        output / f"{SPARSE}.safetensors",
    )
    vectors = directions.astype(np.float16)
    save_file({"weight": vectors, "bias": np.zeros(len(vectors), np.float16)}, output / f"{COLBERT}.safetensors")
    note: dict[str, object] = {
        "model": mini.HUB_NAME,
        "model_sha256": mini.SHA256,
        "pairs": source,
        "pairs_count": len(examples),
        "pairs_sha256": hashlib.sha256("\0".join(texts[0] + texts[1]).encode("utf-8")).hexdigest(),
        "tokens": len(queries.ids) + len(passages.ids),
        SPARSE: f"ridge regression of token states to idf, then {steps} steps of contrast in batches of {BATCH}, seed {seed}",
        "explained_variance": round(explained, 4),
        "loss": [round(float(np.mean(part)), 3) for part in (losses[:50], losses[-50:]) if part],
        COLBERT: "identity" if dim is None else f"the first {dim} principal directions of normalised token states",
        "kept_length": round(kept, 4),
    }
    (output / "provenance.json").write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
    return note


def _states(checkpoint: Checkpoint, texts: Sequence[str], limit: int, path: Path) -> States:
    """The frozen backbone's states, in a mapped file; in bf16 where the processor has it: a fit averages over them."""
    import torch

    tokenizer = TextTokenizer(
        checkpoint.tokenizer,
        max_tokens=limit,
        pad_id=pad_id(checkpoint),
        vocab_size=int(checkpoint.config["vocab_size"]),
        mask_token=checkpoint.settings.mask_token,
    )
    backbone = Backbone(checkpoint, device="cpu", dtype="fast")
    tokens = tokenizer.tokenize(checked_texts(texts))
    offsets = np.concatenate([[0], np.cumsum(tokens.lengths)])
    values = np.memmap(path, np.float16, "w+", shape=(int(offsets[-1]), backbone.hidden))
    for batch in token_batches(tokens.lengths, _BUDGET, padded=False):
        with torch.inference_mode():
            states = backbone.states([tokens.ids[row] for row in batch]).float().numpy().astype(np.float16)
        for row, part in zip(batch, np.split(states, np.cumsum(tokens.lengths[batch])[:-1]), strict=True):
            values[offsets[row] : offsets[row + 1]] = part
    ids = np.concatenate(tokens.ids)
    return States(values, ids, offsets, ~np.isin(ids, tokenizer.wordless))


def main() -> None:
    """The command line: reads pairs, writes the heads, prints the note."""
    parser = argparse.ArgumentParser(description="Fit the heads of the embedded model over pairs of texts.")
    parser.add_argument("--pairs", type=Path, required=True, help='JSONL, one {"query": ..., "pos": [...]} a line')
    parser.add_argument("--output", type=Path, default=mini.HEADS, help="folder for the heads (default: the package's)")
    parser.add_argument("--limit", type=int, default=LIMIT, help=f"pairs to use ({LIMIT:,})")
    parser.add_argument("--dim", type=int, help="width of the multi-vector head (the identity)")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of the lexical head's contrast ({STEPS})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--source", default="pairs of m3search.training.mini_text", help="what the texts are")
    arguments = parser.parse_args()
    examples = list(read_examples(arguments.pairs))[: arguments.limit]
    note = make_heads(
        examples,
        arguments.output,
        source=arguments.source,
        dim=arguments.dim,
        steps=arguments.steps,
        seed=arguments.seed,
    )
    print(json.dumps(note, indent=2))


if __name__ == "__main__":
    main()
