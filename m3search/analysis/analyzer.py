"""Analyzer: text -> terms for BM25.

Owns tokenisation, normalisation and stemming; imports errors only (and PyStemmer). Invariant: the terms of a text
depend on the text and on `Analyzer.to_dict` alone; every term is a non-empty string.

A text is NFKC-normalised and case-folded, then cut into runs of letters, digits and the marks that belong to them
(underscores separate, so that ``read_text`` is found by "read text"). Scripts that are written without spaces
between words (Han, kana, Thai, Lao, Khmer, Burmese) give overlapping character bigrams, as in Lucene's
CJKBigramFilter; all other words are stemmed by the Snowball algorithm of the language. There are no stop words:
a frequent word weighs little by its idf, and "to be or not to be" stays a query.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import Stemmer

from m3search.errors import IndexFormatError, InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 1
"""Grows whenever the same text and language would give other terms."""

LONGEST = 128
"""Characters of a word; a longer one (a base64 block, say) is cut into pieces of this length."""

_KEPT_STEMS = 100_000
"""Words whose stems a thread remembers: about 15 MB; beyond that it starts afresh."""

_NAMES = {
    "ar": "arabic",
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "eo": "esperanto",
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fa": "persian",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "st": "sesotho",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}
_CODES = {name: code for code, name in _NAMES.items()} | {"nb": "no", "nn": "no"}

# Scripts without spaces between words. Only letters, digits and marks get here, so whole blocks may be named.
_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Burmese
    "\u1780-\u17ff"  # Khmer
    "\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Han
    "\U00020000-\U0003ffff"  # Han, rarer
    "\u3041-\u30ff\u31f0-\u31ff\U0001aff0-\U0001b16f"  # Hiragana, Katakana
    "\u3100-\u312f\u31a0-\u31bf"  # Bopomofo
)
_ASCII_WORD = re.compile(rf"[a-z0-9]{{1,{LONGEST}}}")
_HAS_UNSPACED = re.compile(f"[{_UNSPACED}]")

# Characters that a reader does not see inside a word: soft hyphen, zero-width joiner, word joiner, byte order mark.
# U+0307 is what case folding leaves of a capital dotted I.
_INVISIBLE = dict.fromkeys([0x00AD, 0x200D, 0x2060, 0xFEFF])
_TURKISH_CASE = {0x49: "\u0131", 0x130: "i"}

_threads = threading.local()


@dataclass(frozen=True, slots=True)
class Analyzer:
    """Cuts texts into the terms of BM25.

    Attributes:
        language: whose Snowball stemmer is applied, as an ISO 639-1 code ("en") where there is one; full names
            ("english") and regions ("en-US") are understood and turned into it. None: no stemming.

    Raises:
        InputError: there is no stemmer of that language.
    """

    language: str | None = "en"

    def __post_init__(self) -> None:
        object.__setattr__(self, "language", _canonical(self.language))

    def terms(self, text: str) -> list[str]:
        """The terms of a text in their order, repeated where they repeat."""
        words = _words(text, self.language)
        if self.language is None:
            return words
        # a dictionary answers a known word in 30 ns where the stemmer's own cache takes 250 ns
        return list(map(_stems(self.language).__getitem__, words))

    def counts(self, text: str) -> dict[str, int]:
        """Term -> how often it stands in the text, in the order of first appearance."""
        return dict(Counter(self.terms(text)))

    def to_dict(self) -> dict[str, Any]:
        """As a mapping, for msgpack and JSON; `stemmer` is the version of PyStemmer, for the record."""
        return {"version": VERSION, "language": self.language, "stemmer": Stemmer.version()}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """From what `to_dict` gave.

        Raises:
            IndexFormatError: the analysis is of another version of m3search, so that terms would not match.
            InputError: the installed PyStemmer does not know the language.
        """
        if value["version"] != VERSION:
            raise IndexFormatError(
                f"the index was made with text analysis {value['version']}, this m3search has {VERSION}: "
                "use the m3search that made it, or build the index again"
            )
        return cls(value["language"])


def languages() -> list[str]:
    """The languages that the installed stemmer knows, as codes where there is one."""
    return sorted(_CODES.get(name, name) for name in Stemmer.algorithms())


def _canonical(language: str | None) -> str | None:
    if language is None:
        return None
    known = languages()
    if isinstance(language, str):
        name = language.strip().lower()
        for candidate in (name, re.split("[-_]", name)[0]):
            code = _CODES.get(candidate, candidate)
            if code in known:
                return code
    raise InputError(
        f"there is no stemmer for the language {language!r}: give one of {', '.join(known)}, or None for no stemming"
    )


def word_spans(texts: Sequence[str]) -> list[NDArray[np.int64]]:
    """Per text i64[t, 2], the characters of each word as it is written; of a script without spaces, of each letter."""
    found = []
    for text in texts:
        spans: list[tuple[int, int]] = []
        for match in _mixed_pattern().finditer(text):
            if match.lastgroup == "spaced":
                spans.append(match.span())
            else:
                at = match.start()
                spans += [(at + one.start(), at + one.end()) for one in _letter_pattern().finditer(match[0])]
        found.append(np.array(spans, np.int64).reshape(-1, 2))
    return found


def _words(text: str, language: str | None) -> list[str]:
    """Normalised words and bigrams, unstemmed."""
    if text.isascii() and language != "tr":
        return _ASCII_WORD.findall(text.lower())
    if language == "tr":
        text = text.translate(_TURKISH_CASE)
    text = unicodedata.normalize("NFKC", text).casefold().translate(_INVISIBLE)
    text = unicodedata.normalize("NFKC", text).replace("i\u0307", "i")
    if _HAS_UNSPACED.search(text) is None:
        return _word_pattern().findall(text)
    terms: list[str] = []
    for match in _mixed_pattern().finditer(text):
        if match.lastgroup == "spaced":
            terms.append(match[0])
            continue
        letters = _letter_pattern().findall(match[0])  # a mark stays with the letter that carries it
        terms += [a + b for a, b in pairwise(letters)] if len(letters) > 1 else letters
    return terms


class _Stems(dict[str, str]):
    """Word -> stem, computed when first asked for; belongs to one thread, because a Stemmer does."""

    __slots__ = ("_stem",)

    def __init__(self, name: str) -> None:
        super().__init__()
        self._stem = Stemmer.Stemmer(name, 0).stemWord

    def __missing__(self, word: str) -> str:
        if len(self) >= _KEPT_STEMS:
            self.clear()
        stem: str = self._stem(word) or word
        self[word] = stem
        return stem


def _stems(language: str) -> _Stems:
    """This thread's stems of a language."""
    by_language: dict[str, _Stems] = _threads.__dict__
    if language not in by_language:
        by_language[language] = _Stems(_NAMES.get(language, language))
    return by_language[language]


@cache
def _marks() -> str:
    r"""The combining marks as the inside of a character class: `re`'s ``\w`` leaves them out.

    Without them a Hindi or Thai word falls apart at every vowel sign.
    """
    ranges: list[list[int]] = []
    for code in (*range(0x300, 0x1F000), *range(0xE0100, 0xE01F0)):
        if unicodedata.category(chr(code)) not in {"Mn", "Mc"}:
            continue
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


@cache
def _word_pattern() -> re.Pattern[str]:
    return re.compile(rf"[^\W_](?:[^\W_]|[{_marks()}]){{0,{LONGEST - 1}}}")


@cache
def _mixed_pattern() -> re.Pattern[str]:
    """Words as `_word_pattern`, but apart from whole runs of a script without spaces."""
    letter, mark = f"[^\\W_{_UNSPACED}]", f"[{_marks()}]"
    spaced = rf"{letter}(?:{letter}|{mark}){{0,{LONGEST - 1}}}"
    unspaced = rf"(?=\w)[{_UNSPACED}](?:(?=\w)[{_UNSPACED}]|{mark})*"
    return re.compile(f"(?P<spaced>{spaced})|(?P<unspaced>{unspaced})")


@cache
def _letter_pattern() -> re.Pattern[str]:
    return re.compile(f".[{_marks()}]*", re.DOTALL)
