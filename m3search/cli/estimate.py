"""Estimate: how long a build will take and what it will fill, told before it begins.

Builds a throw-away index of the first few documents and scales up. Invariant: a guess never stops a build; what is
wrong with the documents is the build's to say.
"""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m3search.cli.terminal import readable_bytes, readable_seconds

if TYPE_CHECKING:
    from m3search.indexing.sources import Source

LONG = 1000
"""Documents from which on a build is worth an estimate: half a minute of the embedded encoder on two cores."""

_SAMPLE = 48


@dataclass(frozen=True, slots=True)
class BuildEstimate:
    """A guess.

    Attributes:
        documents: about how many there are.
        seconds: about how long the build takes.
        size: about how many bytes the index will have.
        free: bytes that are free where it will lie.
        token_vectors: of `size`, those of token vectors.
    """

    documents: int
    seconds: float
    size: int
    free: int
    token_vectors: int = 0

    def __str__(self) -> str:
        text = (
            f"about {self.documents:,} documents: {readable_seconds(self.seconds)} and {readable_bytes(self.size)} of disk, "
            f"going by the first {_SAMPLE}"
        )
        if self.token_vectors:
            text += f"; {readable_bytes(self.token_vectors)} of it are token vectors (--colbert)"
        if self.size > self.free:
            text += f"\nwarning: only {readable_bytes(self.free)} are free there"
        return text


def estimate_build(source: Source, settings: Mapping[str, Any], path: Path) -> BuildEstimate | None:
    """What a build of this source will take; None where it is short, or nothing can be said.

    Args:
        source: is read twice, so standard input, whose length nobody knows, gets no estimate.
        settings: of `Index.build`.
        path: where the index will lie.
    """
    from m3search.index import Index
    from m3search.indexing.report import SkipReport
    from m3search.indexing.sources import read_documents

    whole = source.estimate()
    if whole.documents is None or whole.size is None or whole.documents < LONG:
        return None
    sample = [accepted.document for accepted in itertools.islice(read_documents(source, SkipReport()), _SAMPLE)]
    sample = list({document.id: document for document in sample}.values())
    if not sample:
        return None
    settings = {**settings, "on_error": "skip"}
    # the first texts pay for what is loaded and warmed up once
    with Index.build(sample[:2], **settings, progress=False):
        started = time.perf_counter()
    with Index.build(sample, **settings, progress=False) as index:
        seconds = time.perf_counter() - started
        info = index.info()
    scale = whole.documents / len(sample)
    place = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    return BuildEstimate(
        documents=whole.documents,
        seconds=scale * seconds,
        size=round(scale * info["bytes"]["payload"]) + whole.size,
        free=shutil.disk_usage(place).free,
        token_vectors=0 if info["colbert"] is None else round(scale * info["colbert"]["bytes"]),
    )
