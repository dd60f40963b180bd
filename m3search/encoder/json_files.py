"""JSON files of a checkpoint: reading them with errors that name the file, and hashing what they say.

Imports errors only. Invariant: two files that say the same thing have the same hash, however they are written.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from m3search.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        CheckpointError: the file is missing, unreadable, or holds no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} is missing: download the model again, or point to a folder in the layout of BAAI/bge-m3"
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): download the model again") from error
    if not isinstance(value, dict):
        raise CheckpointError(
            f"{path} holds a {type(value).__name__} where an object belongs: download the model again"
        )
    return value


def read_json_if_there(path: Path) -> dict[str, Any]:
    """Like `read_json`, but a file that is not there reads as an empty object."""
    return read_json(path) if path.exists() else {}


def hash_json(value: Mapping[str, Any]) -> str:
    """The sha256 (hex) of a JSON object's content: spaces and the order of keys do not count."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
