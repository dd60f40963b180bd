"""Summary: what an index holds, in numbers, for people and for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from m3search.storage.environment import Environment
    from m3search.storage.snapshot import Snapshot


def summary(snapshot: Snapshot, environment: Environment) -> dict[str, Any]:
    """Documents, passages, legs, segments, encoder, generation and bytes.

    Of the bytes, "store" is what LMDB uses, "vectors" the segment files, "total" what lies on the disk, and "payload"
    arrays and vectors alone, without documents, pages' slack and free pages.
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
        "dense": None if config.dense_dim is None else {"dim": config.dense_dim, "kind": config.dense_kind},
        "vocabulary": config.vocab_size,
        "bm25": None if config.bm25 is None else dict(config.bm25),
        "colbert": None if config.colbert_dim is None else {"dim": config.colbert_dim, "codec": config.colbert_codec},
        "bytes": {
            "store": store["used"],
            "vectors": files,
            "payload": files + sum(sum(info.blobs.values()) for info in manifest.segments),
            "total": store["file"] + files,
        },
    }
