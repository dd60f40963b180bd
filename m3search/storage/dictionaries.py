"""Dictionaries: the distinct values of a field in one segment, sorted; a value's place is its ordinal.

Imports errors, filtering and the codec. Invariant: ordinals follow the order of the values, so that a range of values is a
range of ordinals: strings by their UTF-8 bytes, numbers by size, dates by instant and then as strings.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from m3search.errors import CorruptionError
from m3search.filtering import Kind
from m3search.filtering.dates import instant
from m3search.storage.codec import check_ends, ends_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[Any]]

_LARGEST_INTEGER = 2.0**64


class Dictionary(Protocol):
    """The sorted values of a field."""

    def __len__(self) -> int: ...

    def find(self, value: Any) -> int:  # noqa: ANN401 - of the field's kind
        """The ordinal of a value; -1: it is not there."""
        ...

    def within(self, low: float | None, high: float | None, *, with_low: bool, with_high: bool) -> tuple[int, int]:
        """The ordinals, from the first to before the second, of values between two bounds; None: no bound."""
        ...

    def values(self) -> list[Any]:
        """All of them, in order."""
        ...


def dictionary_of(kind: Kind, arrays: Arrays, where: str) -> Dictionary:
    """The dictionary in a column's arrays.

    Raises:
        CorruptionError: they do not fit together.
    """
    if kind is Kind.DATE:
        return DateDictionary(arrays, where)
    return StringDictionary(arrays, where) if kind is Kind.STRING else NumberDictionary(arrays, kind, where)


def dictionary_arrays(kind: Kind, values: Sequence[Any]) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
    """The ordinal of each of some distinct values, i64[n], and the arrays of their dictionary."""
    if kind in {Kind.STRING, Kind.DATE}:
        encoded = [value.encode() for value in values]
        made: dict[str, NDArray[Any]] = {}
        if kind is Kind.DATE:
            moments = [instant(value) or 0 for value in values]
            order = sorted(range(len(values)), key=lambda at: (moments[at], encoded[at]))
            made["instants"] = np.array([moments[at] for at in order], np.int64)
        else:
            order = sorted(range(len(values)), key=encoded.__getitem__)
        words = [encoded[at] for at in order]
        made["bytes"] = np.frombuffer(b"".join(words), np.uint8)
        made["ends"] = ends_of(np.array([len(word) for word in words], np.int64))
    else:
        order = sorted(range(len(values)), key=values.__getitem__)
        pairs = [_as_pair(values[at]) for at in order]
        made = {"numbers": np.array([number for number, _ in pairs], np.float64)}
        if any(rest for _, rest in pairs):
            made["rests"] = np.array([rest for _, rest in pairs], np.int64)
    ordinals = np.empty(len(values), np.int64)
    ordinals[np.array(order, np.int64)] = np.arange(len(values))
    return ordinals, made


class StringDictionary:
    """Strings."""

    def __init__(self, arrays: Arrays, where: str) -> None:
        self._bytes = arrays["bytes"]
        self._ends: NDArray[np.int64] = arrays["ends"]
        check_ends(self._ends, len(self._ends) - 1, len(self._bytes), where)
        self._where = where

    def __len__(self) -> int:
        return len(self._ends) - 1

    def _at(self, ordinal: int) -> bytes:
        return self._bytes[self._ends[ordinal] : self._ends[ordinal + 1]].tobytes()

    def find(self, value: str) -> int:
        """The ordinal of a string."""
        wanted = value.encode("utf-8", "surrogatepass")  # no stored string has a surrogate
        found = bisect_left(range(len(self)), wanted, key=self._at)
        return found if found < len(self) and self._at(found) == wanted else -1

    def within(self, low: float | None, high: float | None, *, with_low: bool, with_high: bool) -> tuple[int, int]:
        """Strings have no ranges."""
        raise NotImplementedError

    def values(self) -> list[str]:
        """All strings."""
        data, ends = self._bytes.tobytes(), self._ends.tolist()
        try:
            return [data[start:end].decode() for start, end in pairwise(ends)]
        except UnicodeDecodeError as error:
            raise CorruptionError(f"{self._where} holds no text: restore the index or build it again") from error


class DateDictionary(StringDictionary):
    """Dates as they were written, by their instants."""

    def __init__(self, arrays: Arrays, where: str) -> None:
        super().__init__(arrays, where)
        self._instants: NDArray[np.int64] = arrays["instants"]
        if len(self._instants) != len(self):
            raise CorruptionError(f"the arrays of {where} do not fit together: restore the index or build it again")

    @cached_property
    def _ordinals(self) -> Mapping[str, int]:
        return {value: ordinal for ordinal, value in enumerate(self.values())}

    def find(self, value: str) -> int:
        """The ordinal of a date as it was written, for an index in which other segments hold strings that are none."""
        return self._ordinals.get(value, -1)

    def within(self, low: float | None, high: float | None, *, with_low: bool, with_high: bool) -> tuple[int, int]:
        """Dates between two instants."""
        return _within(self._instants.__getitem__, len(self), low, high, with_low=with_low, with_high=with_high)


class NumberDictionary:
    """Numbers and booleans.

    A float64 does not hold every integer of 64 bits: what it leaves of one stands beside it. Rounding keeps the order, so pairs
    of both are in the order of the numbers.
    """

    def __init__(self, arrays: Arrays, kind: Kind, where: str) -> None:
        self._numbers: NDArray[np.float64] = arrays["numbers"]
        self._rests: NDArray[np.int64] | None = arrays.get("rests")
        self._kind = kind
        if self._rests is not None and len(self._rests) != len(self._numbers):
            raise CorruptionError(f"the arrays of {where} do not fit together: restore the index or build it again")

    def __len__(self) -> int:
        return len(self._numbers)

    def _at(self, ordinal: int) -> float:
        number = float(self._numbers[ordinal])
        if self._rests is not None and self._rests[ordinal]:
            return int(number) + int(self._rests[ordinal])
        return number

    def find(self, value: float) -> int:
        """The ordinal of a number."""
        found = bisect_left(range(len(self)), value, key=self._at)
        return found if found < len(self) and self._at(found) == value else -1

    def within(self, low: float | None, high: float | None, *, with_low: bool, with_high: bool) -> tuple[int, int]:
        """Numbers between two others; Python compares integers and floats exactly."""
        return _within(self._at, len(self), low, high, with_low=with_low, with_high=with_high)

    def values(self) -> list[float]:
        """All numbers, whole ones as int; booleans as such."""
        found = [self._at(ordinal) for ordinal in range(len(self))]
        if self._kind is Kind.BOOLEAN:
            return [bool(number) for number in found]
        return [int(number) if abs(number) < _LARGEST_INTEGER and number == int(number) else number for number in found]


def _within(
    at: Callable[[int], Any], count: int, low: float | None, high: float | None, *, with_low: bool, with_high: bool
) -> tuple[int, int]:
    ordinals = range(count)
    start, stop = 0, count
    if low is not None:
        start = (bisect_left if with_low else bisect_right)(ordinals, low, key=at)
    if high is not None:
        stop = (bisect_right if with_high else bisect_left)(ordinals, high, key=at)
    return start, max(start, stop)


def _as_pair(value: float) -> tuple[float, int]:
    """The nearest float64, and what is left of an integer."""
    number = float(value) + 0.0  # -0.0 is 0.0
    return number, value - int(number) if isinstance(value, int) else 0
