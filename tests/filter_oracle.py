"""Filters by plain Python over the documents: the slow oracle of the tests, and random metadata and filters for it."""

import math
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

LANGS = ["de", "en", "日本", "ça"]
TAGS = ["zip", "tar", "a b", 'q"uote', "and"]
DATES = [
    "2020-01-01",
    "2020-01-01T10:00:00",
    "2020-01-01T10:00:00Z",
    "2019-12-31T23:30:00-01:00",
    "2021-06-30T12:00",
    "1969-07-20",
]
NUMBERS = [0, 1, -3, 2020, 2.5, -0.0, 2**53, 2**53 + 1, 2**64 - 1, -(2**63), 1e300, math.inf]

_values = {
    "lang": st.sampled_from(LANGS),
    "tags": st.lists(st.sampled_from(TAGS), max_size=3),
    "year": st.sampled_from(NUMBERS),
    "scores": st.lists(st.sampled_from(NUMBERS), max_size=3),
    "draft": st.booleans(),
    "flags": st.lists(st.booleans(), max_size=2),
    "day": st.sampled_from(DATES),
    "days": st.lists(st.sampled_from(DATES), max_size=3),
    "author": st.fixed_dictionaries({}, optional={"name": st.sampled_from(LANGS), "born": st.sampled_from(DATES)}),
    "key": st.integers(0, 40).map("key-{:03}".format),
}
metadata = st.fixed_dictionaries(
    {}, optional={name: st.one_of(st.none(), st.just(math.nan), values) for name, values in _values.items()}
)
everything = {  # a document that has every field, so that each is known
    "lang": "de",
    "tags": ["zip", "tar"],
    "year": 2020,
    "scores": [1, 2.5],
    "draft": True,
    "flags": [True, False],
    "day": "2020-01-01",
    "days": ["2020-01-01", "2021-06-30T12:00"],
    "author": {"name": "de", "born": "1969-07-20"},
    "key": "key-000",
}
_fields = {
    "lang": LANGS,
    "tags": TAGS,
    "author.name": LANGS,
    "key": [f"key-{n:03}" for n in range(0, 50, 7)],
    "year": [*NUMBERS, 2020.5, 10**30, -(10**30)],
    "scores": [*NUMBERS, 2**53 + 2],
    "draft": [True, False],
    "flags": [True, False],
    "day": [*DATES, "2020-01-02"],
    "days": [*DATES, "2020-01-02"],
    "author.born": DATES,
}
_ordered = ["year", "scores", "day", "days", "author.born"]


@st.composite
def clauses(draw):
    """A mapping of one clause."""
    kind = draw(st.sampled_from(["eq", "list", "any", "all", "exists", "range", "none", "ne"]))
    name = draw(st.sampled_from(_ordered if kind == "range" else sorted(_fields)))
    values = st.sampled_from(_fields[name])
    several = st.lists(values, max_size=6)
    made = {
        "eq": values,
        "list": several,
        "any": several.map(lambda some: {"any": some}),
        "all": several.map(lambda some: {"all": some[:2]}),
        "exists": st.booleans().map(lambda there: {"exists": there}),
        "range": st.dictionaries(st.sampled_from(["gt", "gte", "lt", "lte"]), values, min_size=1, max_size=3),
        "none": st.none(),
        "ne": values.map(lambda value: {"ne": value}),
    }
    return {name: draw(made[kind])}


def filters(ids):
    """Mappings, of clauses and ids."""
    named = st.lists(st.sampled_from([*ids, "nobody"]), max_size=4).map(lambda some: {"id": some})
    return st.recursive(
        st.one_of(clauses(), clauses(), clauses(), named),
        lambda inner: st.one_of(
            inner.map(lambda one: {"not": one}),
            st.lists(inner, max_size=3).map(lambda some: {"and": some}),
            st.lists(inner, max_size=3).map(lambda some: {"or": some}),
            st.tuples(inner, inner).map(lambda two: {**two[0], **two[1]}),
        ),
        max_leaves=5,
    )


def matches(document, wanted):
    """Whether a filter, as a mapping, is true of a document."""
    return all(_entry(document, key, value) for key, value in wanted.items())


def _entry(document, key, value):
    if key == "and":
        return all(matches(document, one) for one in value)
    if key == "or":
        return any(matches(document, one) for one in value)
    if key == "not":
        return not matches(document, value)
    if key == "id":
        return document.id in value
    own = values_of(document.metadata, key)
    if value is None:
        return not own
    if isinstance(value, list):
        value = {"any": value}
    if not isinstance(value, dict):
        value = {"eq": value}
    return _compared(own, value)


def _compared(own, operators):
    bounds = {sign: border for sign, border in operators.items() if sign in {"gt", "gte", "lt", "lte"}}
    done = [any(all(_within(one, sign, border) for sign, border in bounds.items()) for one in own)] if bounds else []
    for operator, operand in operators.items():
        if operator == "any":
            done.append(any(_equal(one, other) for one in own for other in operand))
        elif operator == "all":
            done.append(all(any(_equal(one, other) for one in own) for other in operand))
        elif operator == "exists":
            done.append(bool(own) == operand)
        elif operator in {"eq", "ne"}:
            done.append(any(_equal(one, operand) for one in own) == (operator == "eq"))
    return all(done)


def values_of(metadata, name):
    """The values that a document has in a field."""
    found = metadata.get(name)
    if "." in name:
        first, rest = name.split(".")
        found = (metadata.get(first) or {}).get(rest) if not isinstance(metadata.get(first), float) else None
    many = found if isinstance(found, list) else [found]
    return [one for one in many if one is not None and one == one]  # noqa: PLR0124 - not NaN


def _moment(text):
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _is_date(value):
    return isinstance(value, str) and value[:4].isdigit() and value[4:5] == "-"


def _equal(one, other):
    if _is_date(other):
        length = timedelta(days=1) if len(other) == 10 else timedelta(microseconds=1)
        return _moment(other) <= _moment(one) < _moment(other) + length
    return one == other


def _within(one, sign, border):
    if _is_date(border):
        start, day = _moment(border), timedelta(days=1) if len(border) == 10 else timedelta(0)
        one = _moment(one)
        return {
            "gte": one >= start,
            "lt": one < start,
            "gt": one >= start + day if day else one > start,
            "lte": one < start + day if day else one <= start,
        }[sign]
    return {"gt": one > border, "gte": one >= border, "lt": one < border, "lte": one <= border}[sign]
