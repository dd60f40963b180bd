"""``m3search build``: from files to an index."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from m3search.cli.terminal import AsJson, note, print_json, readable_bytes, readable_seconds
from m3search.errors import InputError

if TYPE_CHECKING:
    from m3search.index import Index

NO_ENCODER = "none"


def build(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="BEIR folder or its corpus.jsonl, JSONL, CSV, TSV, Parquet, a folder of text and Markdown files, "
            "or - for JSONL on standard input.",
            metavar="SOURCE...",
        ),
    ],
    index: Annotated[Path, typer.Option(help="Folder of the new index, such as indexes/NAME.")],
    encoder: Annotated[
        str, typer.Option(help='"mini", a hub name such as BAAI/bge-m3, a folder, or "none" for BM25 alone.')
    ] = "mini",
    bm25: Annotated[bool, typer.Option(help="Whether to index terms for BM25.")] = True,
    language: Annotated[str, typer.Option(help="Of BM25's stemming, as en or de; none does not stem.")] = "en",
    colbert: Annotated[
        str | None, typer.Option(help="Store token vectors too, as int8, bf16 or int8+bits; without it there are none.")
    ] = None,
    dense: Annotated[
        str,
        typer.Option(
            help="How dense vectors are searched: flat (exact), hnsw, ivf, or auto: flat to 200,000 passages a segment, "
            "hnsw above."
        ),
    ] = "auto",
    dense_options: Annotated[
        str | None, typer.Option(help="Of the dense index, as M=32,efConstruction=400 (hnsw) or nlist=1024 (ivf).")
    ] = None,
    on_error: Annotated[
        str, typer.Option(help="raise: stop at the first bad record; skip: go on and report them all.")
    ] = "raise",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the index that is there.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted build stands; where there is none, begin.")
    ] = False,
    segment_size: Annotated[int | None, typer.Option(help="Passages of a segment.")] = None,
    passage_tokens: Annotated[
        int | None, typer.Option(help="Tokens of a passage; default: as many as the encoder takes.")
    ] = None,
    passage_overlap: Annotated[int, typer.Option(help="Tokens that a passage repeats of the one before, at most.")] = 0,
    passage_by: Annotated[str, typer.Option(help="Where passages end: sentence, paragraph or word.")] = "sentence",
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights", "-w", help="That a search takes when it names none; else what the encoder recommends."
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads of the encoder and of making a dense index; default: all.")
    ] = None,
    estimate: Annotated[bool, typer.Option(help="Whether to estimate time and disk before a long build.")] = True,
    as_json: AsJson = False,
) -> None:
    """Build an index: encode every document once and store it.

    Example: m3search build corpus.jsonl notes/ --index indexes/mine --on-error skip
    """
    from m3search.encoder import Encoder
    from m3search.index import DEFAULT_SEGMENT_SIZE, Index
    from m3search.indexing.sources import join_sources
    from m3search.records import Passages
    from m3search.storage import index_folder
    from m3search.storage.journal import unfinished

    source = join_sources(sources)
    settings: dict[str, Any] = {
        "encoder": None if encoder == NO_ENCODER else Encoder.load(encoder, threads=threads),
        "bm25": {"language": None if language == NO_ENCODER else language} if bm25 else False,
        "colbert": colbert,
        "dense": dense,
        "dense_options": numbers(dense_options),
        "on_error": on_error,
        "weights": weights,
        "passages": Passages(passage_tokens, passage_overlap, passage_by),
    }
    left = unfinished(index_folder(index))
    if resume:
        note(
            f"{left:,} documents are encoded already"
            if left
            else f"there is nothing to go on with in {index}: beginning"
        )
    elif left:
        note(
            f"an unfinished build with {left:,} documents is in {index}: --resume goes on with it, this one begins anew"
        )
    if estimate and not (resume and left):
        from m3search.cli.estimate import estimate_build

        guess = estimate_build(source, settings, index)
        if guess is not None:
            note(str(guess))
    with (
        _notes_shown(),
        Index.build(
            source,
            index,
            **settings,
            overwrite=overwrite,
            resume=resume,
            threads=threads,
            segment_size=DEFAULT_SEGMENT_SIZE if segment_size is None else segment_size,
            progress=not as_json,
        ) as built,
    ):
        report_build(built, as_json=as_json)


@contextlib.contextmanager
def _notes_shown() -> Iterator[None]:
    """What a build that ends early says of itself, such as that it can be resumed, goes to standard error."""
    try:
        yield
    except BaseException as error:
        for text in getattr(error, "__notes__", ()):
            note(text)
        raise


def numbers(text: str | None) -> dict[str, int] | None:
    """What stands in NAME=NUMBER,NAME=NUMBER."""
    if not text:
        return None
    found = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            found[name.strip()] = int(value)
        except ValueError as error:
            raise InputError(f"{part!r} is not NAME=NUMBER: write for example M=32,efConstruction=400") from error
    return found


def report_build(index: Index, *, as_json: bool) -> None:
    """Say what a build did."""
    report, size = index.report, index.info()["bytes"]["total"]
    assert report is not None
    if as_json:
        print_json({"index": str(index.path), **report.to_dict(), "bytes": size})
        return
    for part in (report.empty, report.skipped):
        if part:
            note(part.summary())
    resumed = f" ({report.resumed:,} of them encoded before)" if report.resumed else ""
    sys.stdout.write(
        f"{index.path}: {report.documents:,} documents{resumed} in {report.passages:,} passages, "
        f"{readable_bytes(size)}, {readable_seconds(report.seconds)}\n"
    )
