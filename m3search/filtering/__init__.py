"""Filters: which documents a search may find, said in terms of their metadata.

Owns the grammar, in Python's values and as a text, the tree that both become, the types of fields, and what a filter means for
given types. Imports errors only; how a filter is evaluated is storage's business. Invariant: a filter is parsed once, into a
tree of frozen values of bounded size; what is wrong with it is said with its place.
"""

from m3search.filtering.binding import Bound, Interval, Nothing, Values, bind
from m3search.filtering.dates import Dates, instants
from m3search.filtering.fields import (
    LONGEST_LIST,
    LONGEST_VALUE,
    FieldType,
    Kind,
    flattened,
    merged_types,
    typed_values,
)
from m3search.filtering.mapping import FilterLike, as_filter
from m3search.filtering.text import parse_text
from m3search.filtering.tree import AllOf, And, AnyOf, Exists, Filter, Ids, Not, Or, Range, Word

__all__ = [
    "LONGEST_LIST",
    "LONGEST_VALUE",
    "AllOf",
    "And",
    "AnyOf",
    "Bound",
    "Dates",
    "Exists",
    "FieldType",
    "Filter",
    "FilterLike",
    "Ids",
    "Interval",
    "Kind",
    "Not",
    "Nothing",
    "Or",
    "Range",
    "Values",
    "Word",
    "as_filter",
    "bind",
    "flattened",
    "instants",
    "merged_types",
    "parse_text",
    "typed_values",
]
