"""TextTokenizer: texts to token ids, cut to the limit with the closing special token kept.

Owns special ids, prefixes and truncation. Imports errors; the tokenizers library when a file is read. Invariant: what
is baked into ``tokenizer.json`` about truncation and padding never acts, and ids that carry no word come from the
tokenizer, never from a constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.encoder.json_files import read_json
from m3search.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_SLICE = 1024
"""Texts tokenized at once: the library's own records are many times larger than the ids kept of them."""


@dataclass(frozen=True, slots=True)
class TokenizedTexts:
    """Token ids of n texts.

    Attributes:
        ids: n arrays i32[t], special tokens and prefix included.
        skip: i64[n], how many tokens at the front are special or belong to the prefix.
    """

    ids: list[NDArray[np.int32]]
    skip: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """i64[n], tokens of each text."""
        return np.array([len(row) for row in self.ids], np.int64)


class TextTokenizer:
    """A tokenizer file, ready for texts of up to `max_tokens`; safe to use from several threads.

    Attributes:
        max_tokens: tokens of one text, special tokens and prefix counted in.
        pad_id: what the backbone fills short rows with.
        wordless: ids that carry no word and enter no lexical output.
    """

    def __init__(self, path: Path, *, max_tokens: int, pad_id: int, vocab_size: int, mask_token: str = "") -> None:
        """Reads a tokenizer file.

        Args:
            path: ``tokenizer.json``.
            max_tokens: tokens of one text, special tokens counted in.
            pad_id: the backbone's padding id.
            vocab_size: rows of the backbone's embedding table.
            mask_token: the mask token where it is to be dropped from lexical outputs, else "".

        Raises:
            CheckpointError: the file cannot be read, does not fit the backbone, or leaves no room for a text.
        """
        self._tokenizer, self._unknown = _load(path)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._opening, self._closing = self._special_ids(path)
        largest = max(self._tokenizer.get_vocab(with_added_tokens=True).values())
        if largest >= vocab_size:
            raise CheckpointError(
                f"{path} has the token id {largest}, but the backbone knows only ids below {vocab_size}: tokenizer and "
                "backbone are of different models"
            )
        self.max_tokens = max_tokens
        self.pad_id = pad_id
        self.wordless = self._wordless(mask_token)
        if self.room() < 1:
            raise CheckpointError(f"a limit of {max_tokens} tokens leaves no room for a text: raise max_tokens")

    def _special_ids(self, path: Path) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """What the tokenizer puts before and after a text."""
        probe = self._tokenizer.encode("a", add_special_tokens=True)
        special = np.array(probe.special_tokens_mask, bool)
        ordinary = np.flatnonzero(~special)
        if not len(ordinary) or not special[0]:
            raise CheckpointError(
                f"{path} puts no special token before a text, so there is nothing to pool: download the model again"
            )
        ids = np.array(probe.ids, np.int32)
        return ids[: ordinary[0]], ids[ordinary[-1] + 1 :]

    def _wordless(self, mask_token: str) -> NDArray[np.int32]:
        # a Unigram model names its unknown token by id, the others by text
        unknown = self._unknown if isinstance(self._unknown, int) else self._tokenizer.token_to_id(self._unknown or "")
        mask = self._tokenizer.token_to_id(mask_token) if mask_token else None
        ids = {*self._opening.tolist(), *self._closing.tolist(), self.pad_id, unknown, mask} - {None}
        return np.array(sorted(ids), np.int32)

    def room(self, prefix: str = "") -> int:
        """Tokens of text that fit beside the special tokens and a prefix."""
        taken = len(self._opening) + len(self._closing)
        if prefix:
            taken += len(self._tokenizer.encode(prefix, add_special_tokens=False).ids)
        return self.max_tokens - taken

    def tokenize(self, texts: Sequence[str], prefix: str = "") -> TokenizedTexts:
        """Token ids of texts, cut to the limit.

        Args:
            texts: any texts; special tokens written out in them become their ids, as in transformers.
            prefix: stands before every text.
        """
        ids: list[NDArray[np.int32]] = []
        skip = np.full(len(texts), len(self._opening), np.int64)
        keep = self.max_tokens - len(self._opening) - len(self._closing)
        for start in range(0, len(texts), _SLICE):
            for encoding in self._encode([prefix + text for text in texts[start : start + _SLICE]], spans=bool(prefix)):
                if prefix:
                    skip[len(ids)] += _tokens_within(encoding.offsets, len(prefix))
                ordinary = np.array(encoding.ids[:keep], np.int32)
                ids.append(np.concatenate([self._opening, ordinary, self._closing]))
        return TokenizedTexts(ids, skip)

    def spans(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Where every token of a text stands.

        Args:
            texts: any texts, of any length.

        Returns:
            Per text i64[t, 2], first character and one past the last; without special tokens, nothing is cut.
        """
        return [spans for _, spans in self._pieces(texts, ids=False)]

    def pieces(self, texts: Sequence[str]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """The tokens of a text, uncut and without special ones: ids i64[t], and their places as `spans` gives them."""
        return list(self._pieces(texts, ids=True))

    def _pieces(self, texts: Sequence[str], *, ids: bool) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        for start in range(0, len(texts), _SLICE):
            for encoding in self._encode(list(texts[start : start + _SLICE]), spans=True):
                spans = np.array(encoding.offsets, np.int64).reshape(-1, 2)
                yield np.array(encoding.ids if ids else [], np.int64), spans

    def token(self, token_id: int) -> str:
        """A token as text, for display; "" for an id that is none."""
        return str(self._tokenizer.decode([token_id], skip_special_tokens=False))

    def _encode(self, texts: list[str], *, spans: bool) -> Any:  # noqa: ANN401 - tokenizers has no types
        # the fast variant leaves the spans out
        encode = self._tokenizer.encode_batch if spans else self._tokenizer.encode_batch_fast
        return encode(texts, add_special_tokens=False)


def checked_texts(texts: Sequence[str], what: str = "text", *, first: int = 0) -> list[str]:
    """The texts as a list, every one of them fit to be tokenized.

    Args:
        texts: what a caller handed in.
        what: what to call a row in an error's message.
        first: the number of the first row, for the same.

    Raises:
        InputError: a single str, a row that is no str, or one with a lone surrogate; the message names the row.
    """
    if isinstance(texts, (str, bytes)):
        raise InputError(f"{type(texts).__name__} given where a list of texts belongs: write [text]")
    rows = list(texts)
    for row, text in enumerate(rows, first):
        if not isinstance(text, str):
            raise InputError(f"{what} {row} is a {type(text).__name__}: every text must be a str")
        if text.isascii():
            continue
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(
                f"{what} {row} has a lone surrogate at character {error.start} ({text[error.start]!a}), which is no "
                "text: decode its bytes with errors='replace'"
            ) from None
    return rows


def _load(path: Path) -> tuple[Any, int | str | None]:
    """The library's tokenizer, and its unknown token as id or text, which the library itself does not tell."""
    from tokenizers import Tokenizer

    model = read_json(path).get("model")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        # the library raises the bare class for whatever it cannot parse; anything narrower is not its own
        if type(error) is not Exception:
            raise
        raise CheckpointError(f"{path} is no tokenizer file ({error}): download the model again") from error
    model = model if isinstance(model, dict) else {}
    unknown = model.get("unk_id")
    return tokenizer, model.get("unk_token") if unknown is None else unknown


def _tokens_within(offsets: list[tuple[int, int]], end: int) -> int:
    """How many tokens at the front lie wholly before a character."""
    for count, (_, stop) in enumerate(offsets):
        if stop > end:
            return count
    return len(offsets)
