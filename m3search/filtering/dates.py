"""Dates: ISO 8601 dates and times as instants: microseconds since 1970, in UTC.

Imports nothing. A time without an offset is taken as UTC. A date without a time is the beginning of that day where a document
has it, and the whole day where a filter does.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?", re.ASCII)
_DATE = len("2020-01-31")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY = 86_400_000_000


class Dates(NamedTuple):
    """Instants from `start` on and before `stop`: a moment, or a day."""

    start: int
    stop: int


def instant(text: str) -> int | None:
    """Microseconds since 1970 of an ISO 8601 date or time; None: the text is none."""
    if len(text) < _DATE or not text[0].isdigit() or not _ISO.fullmatch(text):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return (found - _EPOCH) // _MICROSECOND


def instants(text: str) -> Dates | None:
    """What a filter means by a date or time."""
    start = instant(text)
    return None if start is None else Dates(start, start + (_DAY if len(text) == _DATE else 1))
