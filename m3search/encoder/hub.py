"""Fetching a checkpoint from the Hugging Face hub.

Owns which files are fetched. Imports errors; huggingface_hub when something is fetched. Invariant: only files that
m3search reads are downloaded, what is complete in the cache is used without the network, and no remote code is ever
trusted.
"""

from __future__ import annotations

import re
from pathlib import Path

from m3search.encoder.head import COLBERT, SPARSE, SUFFIXES
from m3search.encoder.settings import FILES
from m3search.errors import EncoderError

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SMALL = ("config.json", "tokenizer.json", *FILES, "model.safetensors.index.json", "pytorch_model.bin.index.json")
_HEADS = tuple(f"{name}{suffix}" for name in (SPARSE, COLBERT) for suffix in SUFFIXES)
_SAFETENSORS = ("model.safetensors", "model-*-of-*.safetensors")
_PICKLED = ("pytorch_model.bin", "pytorch_model-*-of-*.bin")


def is_hub_name(name: str) -> bool:
    """Whether a name has the form OWNER/MODEL."""
    return _NAME.fullmatch(name) is not None


def fetch(name: str, revision: str | None = None, *, heads: bool = True) -> tuple[Path, str]:
    """A model's folder in the hub's cache, downloaded if it is not there.

    Args:
        name: OWNER/MODEL.
        revision: a branch, tag or commit; None takes what is cached, else the newest of the main branch.
        heads: whether the model must bring M3 heads along.

    Returns:
        The folder and the commit.

    Raises:
        EncoderError: the hub cannot be reached or does not have the model, and the cache is not complete.
    """
    try:
        folder = _snapshot(name, revision, (*_SMALL, *_HEADS, *_SAFETENSORS, *_PICKLED), offline=True)
    except EncoderError:
        folder = None
    if folder is None or not _complete(folder, heads=heads):
        folder = _snapshot(name, revision, (*_SMALL, *_HEADS, *_SAFETENSORS), offline=False)
        if not any(any(folder.glob(pattern)) for pattern in (*_SAFETENSORS, *_PICKLED)):
            # pinned to the commit just seen, so that both halves are of one model
            folder = _snapshot(name, folder.name, (*_SMALL, *_HEADS, *_PICKLED), offline=False)
    return folder, folder.name


def _snapshot(name: str, revision: str | None, patterns: tuple[str, ...], *, offline: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    where = f"{name} at revision {revision}" if revision else name
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(patterns), local_files_only=offline))
    except (LocalEntryNotFoundError, OSError, HFValidationError) as error:
        if isinstance(error, HfHubHTTPError):
            reason = f"the hub answered: {str(error).strip().splitlines()[0]}. Check the name and the revision"
        else:
            reason = "the hub cannot be reached, and the cache does not have all of the model's files"
        raise EncoderError(
            f'{where} cannot be loaded: {reason}. Without a network use encoder="mini", or copy the model to this '
            "machine and give its folder"
        ) from error


def _complete(folder: Path, *, heads: bool) -> bool:
    """Whether a cached snapshot has everything; an interrupted download has not."""
    needed = [("config.json",), ("tokenizer.json",), (*_SAFETENSORS, *_PICKLED)]
    if heads:
        needed += [tuple(f"{name}{suffix}" for suffix in SUFFIXES) for name in (SPARSE, COLBERT)]
    return all(any(any(folder.glob(pattern)) for pattern in patterns) for patterns in needed)
