"""``m3search train``: from examples to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from m3search.cli.terminal import AsJson, note, print_json, print_table, readable_seconds


def train(
    data: Annotated[
        list[Path],
        typer.Argument(
            help="JSONL with query, pos and optionally neg, pos_scores and neg_scores, or folders of such files; "
            "a file is a data set, and a batch is of one.",
            metavar="DATA...",
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder of the new model; checkpoints and curves go to its training/.")],
    model: Annotated[
        str, typer.Option(help='What to begin with: "mini", a hub name such as BAAI/bge-m3, a folder.')
    ] = ("mini"),
    heads_only: Annotated[
        str | None, typer.Option(help="Train only these heads: lexical, colbert or lexical,colbert.")
    ] = None,
    new_heads: Annotated[str | None, typer.Option(help="Begin these heads anew: lexical, colbert or both.")] = None,
    colbert_dim: Annotated[int | None, typer.Option(help="Width of a new multi-vector head.")] = None,
    loss: Annotated[
        str | None,
        typer.Option(help="Weights of the terms, as dense=1,lexical=0.1,colbert=1,ensemble=1; those left out weigh 0."),
    ] = None,
    distil: Annotated[
        bool, typer.Option(help="Whether each term is also pulled towards the ensemble (self-distillation).")
    ] = True,
    teacher: Annotated[
        str | None, typer.Option(help="Use the examples' scores: kl or m3; without it they are passed over.")
    ] = None,
    temperature: Annotated[float, typer.Option(help="Scores are divided by it.")] = 0.02,
    epochs: Annotated[float, typer.Option(help="Passes over the examples.")] = 1.0,
    max_steps: Annotated[int | None, typer.Option(help="Steps after which to stop.")] = None,
    batch: Annotated[int, typer.Option(help="Queries of a batch.")] = 16,
    group: Annotated[int, typer.Option(help="Passages of a query: a positive and group - 1 negatives.")] = 1,
    piece: Annotated[
        int | None, typer.Option(help="Texts whose activations are kept at once (GradCache); without it all.")
    ] = None,
    accumulate: Annotated[int, typer.Option(help="Batches whose gradients are added up for a step.")] = 1,
    checkpointing: Annotated[
        bool, typer.Option(help="Whether to compute activations again instead of keeping them.")
    ] = False,
    precision: Annotated[str, typer.Option(help="fp32, bf16 or fp16 (CUDA).")] = "fp32",
    learning_rate: Annotated[float, typer.Option(help="The highest.")] = 1e-5,
    query_tokens: Annotated[int, typer.Option(help="Tokens of a query.")] = 64,
    passage_tokens: Annotated[int, typer.Option(help="Tokens of a passage.")] = 256,
    evaluate: Annotated[Path | None, typer.Option(help="BEIR folder to measure nDCG@10 on.")] = None,
    split: Annotated[str, typer.Option(help="Which of its judgements; not those that are reported.")] = "dev",
    evaluate_every: Annotated[int | None, typer.Option(help="Steps between measurements; default: at the end.")] = None,
    save_every: Annotated[int | None, typer.Option(help="Steps between checkpoints to resume from.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in the output.")] = False,
    device: Annotated[str, typer.Option(help="auto or cpu.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of batches, new heads and dropout.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train a model's dense, lexical and multi-vector outputs together, or its heads alone.

    Example: m3search train pairs.jsonl --model mini --output models/mine --heads-only lexical,colbert
    """
    from m3search.training import fit
    from m3search.training.fit import Training
    from m3search.training.losses import losses_of

    training = Training(
        epochs=epochs,
        max_steps=max_steps,
        batch=batch,
        group=group,
        accumulate=accumulate,
        piece=piece,
        checkpointing=checkpointing,
        precision=precision,
        learning_rate=learning_rate,
        query_tokens=query_tokens,
        passage_tokens=passage_tokens,
        heads_only=_names(heads_only),
        new_heads=_names(new_heads) or (),
        colbert_dim=colbert_dim,
        teacher=teacher is not None,
        evaluate=None if evaluate is None else str(evaluate),
        evaluate_split=split,
        evaluate_every=evaluate_every,
        save_every=save_every,
        device=device,
        seed=seed,
    )
    losses = losses_of(
        loss, heads_only=training.heads_only, distil=distil, teacher=teacher or "kl", temperature=temperature
    )
    trained = fit(data, output, model=model, training=training, losses=losses, resume=resume, progress=not as_json)
    if as_json:
        print_json(
            {
                "model": str(trained.folder),
                "steps": trained.steps,
                "loss": trained.loss,
                "seconds": trained.seconds,
                "values": trained.values,
            }
        )
        return
    note(
        f"{trained.steps:,} steps in {readable_seconds(trained.seconds)}, mean loss {trained.loss:.4f}: {trained.folder}"
    )
    if trained.values:
        print_table(["blend", "nDCG@10>"], [[name, f"{value:.4f}"] for name, value in trained.values.items()])


def _names(text: str | None) -> tuple[str, ...] | None:
    """``lexical,colbert`` as names; None stays None."""
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())
