"""Summary: what an index holds, in numbers, for people and for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from m3search.storage.block_postings import BLOCK_ARRAYS
from m3search.storage.dense_index import FAISS_SUFFIX
from m3search.storage.dense_recall import recall_of
from m3search.storage.token_vectors import files_of

if TYPE_CHECKING:
    from m3search.storage.environment import Environment
    from m3search.storage.snapshot import Snapshot


def summary(snapshot: Snapshot, environment: Environment) -> dict[str, Any]:
    """Documents, passages, legs, segments, encoder, generation and bytes.

    Of the bytes, "store" is what LMDB uses, of which "live" is in use and "free" waits to be used again; of the free ones,
    "pinned" cannot be used before the oldest reader ends (None: not known; see `Environment.pinned`); "vectors" are the segment
    files, "total" is what lies on the disk, and "payload" arrays and vectors alone, without documents and slack.
    "fields" are those of the metadata with their types; None where an earlier version wrote the index.
    "readers" are transactions of any process that may keep pages from being free, and how many commits the oldest is behind.
    """
    manifest = snapshot.manifest
    config = manifest.config
    files = sum(file.size for info in manifest.segments for file in info.files.values())
    store = environment.info()
    return {
        "generation": manifest.generation,
        "created": manifest.created,
        "documents": snapshot.documents,
        "passages": snapshot.passages,
        "deleted": sum(info.deleted for info in manifest.segments),
        "segments": len(manifest.segments),
        "legs": list(config.legs),
        "weights": None if config.weights is None else str(config.weights),
        "encoder": None if config.encoder is None else config.encoder.name,
        "dense": None if config.dense_dim is None else _dense(snapshot),
        "vocabulary": config.vocab_size,
        "bm25": None if config.bm25 is None else dict(config.bm25),
        "fields": None if _without_columns(snapshot) else {name: str(found) for name, found in snapshot.types.items()},
        "colbert": None if config.colbert_dim is None else _colbert(snapshot),
        "inverted": {
            name: _inverted(name, snapshot) for name in ("lexical", "bm25") if name in config.legs and snapshot.segments
        },
        "readers": environment.readers(),
        "bytes": {
            "store": store["used"],
            "live": store["live"],
            "free": store["used"] - store["live"],
            "pinned": environment.pinned(),
            "vectors": files,
            "payload": files + sum(sum(info.blobs.values()) for info in manifest.segments),
            "total": store["file"] + files,
        },
    }


def _without_columns(snapshot: Snapshot) -> bool:
    """Whether an earlier version wrote some segment, so that only its documents know their fields."""
    return any(info.fields is None for info in snapshot.manifest.segments)


def _dense(snapshot: Snapshot) -> dict[str, Any]:
    """How the dense vectors are searched; of every approximate index its size, effort and measured recall."""
    config = snapshot.manifest.config
    found: dict[str, Any] = {"dim": config.dense_dim, "kind": config.dense_kind, **config.dense_options}
    indexes = [
        {
            "kind": segment.dense_index.kind,
            "passages": segment.info.passages,
            "bytes": segment.info.files[FAISS_SUFFIX].size,
            "effort": int(segment.info.statistics["dense_effort"]),
            **(recall_of([segment.info]) or {}),
        }
        for segment in snapshot.segments
        if segment.dense_index is not None
    ]
    recall = recall_of(snapshot.manifest.segments)
    return found if recall is None else {**found, **recall, "indexes": indexes}


def _colbert(snapshot: Snapshot) -> dict[str, Any]:
    """How many tokens' vectors there are, and the bytes of their files."""
    config = snapshot.manifest.config
    return {
        "dim": config.colbert_dim,
        "codec": config.colbert_codec,
        "tokens": sum(len(segment.tokens) for segment in snapshot.segments if segment.tokens is not None),
        "bytes": sum(
            info.files[suffix].size for info in snapshot.manifest.segments for suffix in files_of(config.colbert_codec)
        ),
    }


def _inverted(name: str, snapshot: Snapshot) -> dict[str, Any]:
    """Sums over the segments: a term that two segments have counts twice. Frequent terms are in blocks, rare ones in lists."""
    fields = [segment.fields[name] for segment in snapshot.segments]
    blobs = [segment.info.blobs for segment in snapshot.segments]
    postings = sum(field.postings for field in fields)
    rare = sum(field.blocks.rare_postings for field in fields)
    blocks = sum(sizes.get(f"{name}.{array}", 0) for sizes in blobs for array in BLOCK_ARRAYS)
    forward = sum(sizes[f"{name}.{array}"] for sizes in blobs for array in ("row_ends", "row_terms", "row_values"))
    terms, frequent = sum(field.size for field in fields), sum(field.blocks.frequent_terms for field in fields)
    return {
        "postings": postings,
        "frequent_postings": postings - rare,
        "rare_postings": rare,
        "terms": terms,
        "frequent_terms": frequent,
        "rare_terms": terms - frequent,
        "bytes_per_posting": round(blocks / max(postings, 1), 3),
        "forward_bytes_per_posting": round(forward / max(postings, 1), 3),
    }
