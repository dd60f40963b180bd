"""Stream: texts from any source, in windows that fit into memory, tokenized ahead of the model.

Owns how much of a source is held at a time. Imports its neighbours. Invariant: texts leave in the order they came in, and
never more than two windows of them are held.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from m3search.encoder.tokenizer import checked_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from m3search.encoder.tokenizer import TokenizedTexts


@dataclass(frozen=True, slots=True)
class Window:
    """How many texts are read before the first of them is encoded.

    Attributes:
        texts: at most.
        characters: at most, but for one longer text; about what there are tokens of, and less where words are known.
    """

    texts: int = 4096
    characters: int = 1_000_000


def tokenized_windows(
    texts: Iterable[str], window: Window, tokenize: Callable[[list[str]], TokenizedTexts]
) -> Iterator[TokenizedTexts]:
    """The texts of a source, window by window; the next window is tokenized while the last one is encoded.

    Args:
        texts: read once, in the thread that asks for the windows.
        window: how much of it.
        tokenize: texts to token ids; runs in a thread of its own.

    Raises:
        InputError: a text that is none, after what came before it.
    """
    return tokenized_groups(_windows(texts, window), tokenize)


def tokenized_groups(
    groups: Iterable[list[str]], tokenize: Callable[[list[str]], TokenizedTexts]
) -> Iterator[TokenizedTexts]:
    """Groups of texts, one by one; the next one is tokenized while the last one is encoded.

    Args:
        groups: read once, in the thread that asks, one ahead of what was asked for.
        tokenize: as for `tokenized_windows`.

    Raises:
        Exception: whatever the source of the groups raises, after what came before it.
    """
    source = iter(groups)
    with ThreadPoolExecutor(1, thread_name_prefix="m3search-tokenizer") as worker:
        ahead: Future[TokenizedTexts] | None = None
        while True:
            failure: Exception | None = None
            following: Future[TokenizedTexts] | None = None
            try:
                chunk = next(source, None)
                following = None if chunk is None else worker.submit(tokenize, chunk)
            except Exception as error:  # noqa: BLE001 - raised again below
                failure = error
            if ahead is not None:
                yield ahead.result()
            if failure is not None:
                raise failure
            if following is None:
                return
            ahead = following


def _windows(texts: Iterable[str], window: Window) -> Iterator[list[str]]:
    chunk: list[str] = []
    characters = 0
    failure: Exception | None = None
    try:
        for row, text in enumerate(texts):
            # before it is counted; the message names its place in the whole source
            checked_texts([text], first=row)
            if chunk and (len(chunk) >= window.texts or characters + len(text) > window.characters):
                yield chunk
                chunk, characters = [], 0
            chunk.append(text)
            characters += len(text)
    except Exception as error:  # noqa: BLE001 - whatever the source raises, once what came before it is out
        failure = error
    if chunk:
        yield chunk
    if failure is not None:
        raise failure
