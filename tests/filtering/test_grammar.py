"""The grammar: both forms make the same tree, the tree's text means the same, errors point at the place, size is bounded."""

import datetime as dt

import numpy as np
import pytest
from filter_oracle import filters
from hypothesis import given

from m3search.errors import FilterError, QueryError
from m3search.filtering import (
    And,
    FieldType,
    Interval,
    Kind,
    Values,
    as_filter,
    bind,
)

TYPES = {
    "lang": FieldType(Kind.STRING),
    "year": FieldType(Kind.NUMBER),
    "tags": FieldType(Kind.STRING, many=True),
    "draft": FieldType(Kind.BOOLEAN),
    "day": FieldType(Kind.DATE),
    "author.name": FieldType(Kind.STRING),
    "long": FieldType(Kind.NUMBER, many=True, partly=True),
    "blob": FieldType(Kind.OBJECT),
    "not": FieldType(Kind.STRING),
}


def bound(given):
    return bind(as_filter(given), TYPES)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"lang": "de"}, "lang=de"),
        ({"lang": "de"}, 'lang == "de"'),
        ({"lang": {"eq": "de"}}, "'lang'=de"),
        ({"lang": {"ne": "de"}}, "lang!=de"),
        ({"lang": "de", "year": 2020}, "lang=de year=2020"),
        ({"lang": "de", "year": 2020}, "lang=de AND year=2020"),
        ({"year": {"gte": 2020, "lt": 2025}}, "year>=2020 <2025"),
        ({"year": {"gt": -1.5}}, "year > -1.5"),
        ({"tags": ["zip", "a b"]}, "tags any (zip, 'a b')"),
        ({"tags": {"in": ["zip"]}}, "tags in (zip)"),
        ({"tags": {"all": ["zip", 'q"']}}, r'tags all (zip, "q\"")'),
        ({"tags": []}, "tags any ()"),
        ({"draft": True}, "draft=true"),
        ({"year": {"exists": True}}, "year exists"),
        ({"year": None}, "not year exists"),
        ({"year": {"eq": None}}, "not year exists"),
        ({"not": {"draft": True}}, "not draft=True"),
        ({"or": [{"lang": "de"}, {"lang": "en", "year": 1}]}, "lang=de or lang=en year=1"),
        ({"lang": "de", "or": [{"year": 1}, {"year": 2}]}, "lang=de (year=1 or year=2)"),
        ({"id": ["a", "7"]}, "id any (a, 7)"),
        ({"id": ["a", 7]}, "id in (a, 7)"),
        ({"not": {"id": "a"}}, "id!=a"),
        ({"author.name": "x"}, "author.name=x"),
        ({"metadata.not": "x"}, "metadata.not=x"),
        ({"day": dt.date(2020, 1, 31)}, "day=2020-01-31"),
        ({"day": {"gt": dt.datetime(2020, 1, 31, 12)}}, "day>2020-01-31T12:00:00"),  # noqa: DTZ001
        ({"year": np.int64(3)}, "year=3"),
    ],
)
def test_both_forms_mean_the_same(values, text):
    assert bound(values) == bound(text) == bound(str(as_filter(values))) == bound(str(as_filter(text)))


@given(filters(["a", "b"]))
def test_the_text_of_a_tree_is_that_tree_again(wanted):
    tree = as_filter(wanted)
    assert str(as_filter(str(tree))) == str(tree)
    assert as_filter(tree) is tree
    assert hash(tree) == hash(as_filter(wanted))


def test_what_a_filter_means():
    assert as_filter(None) is None
    assert bound({}) == bound("  ") == And(())
    assert bound("year=2020") == Values("year", (2020,))
    assert bound('lang="2020"') == Values("lang", ("2020",))
    assert bound("lang=2020") == Values("lang", ("2020",))
    day = 1_580_428_800_000_000  # 2020-01-31
    assert bound("day=2020-01-31") == Interval("day", day, day + 86_400_000_000, with_high=False)
    assert bound("day>2020-01-31") == Interval("day", day + 86_400_000_000, None)
    assert bound("day<=2020-01-31T00:00Z") == Interval("day", None, day + 1, with_high=False)
    assert bound("year>1 >=2 <9 <=8") == Interval("year", 2, 8)
    assert bound("year>2 >=2") == Interval("year", 2, with_low=False)


@pytest.mark.parametrize(
    ("given", "message", "caret"),
    [
        ("lang=de year>=", "a value should stand here, not the end", 14),
        ("yeer=1", "no document has a field 'yeer': did you mean 'year'?", 0),
        ("lang=de or", "the name of a field should stand here, not the end", 10),
        ("(lang=de", "')' should stand here, not the end", 8),
        ("lang=de)", "'and', 'or' or another clause should stand here, not ')'", 7),
        ("year>x", "'year' holds numbers, and 'x' is none", 5),
        ("year>1e999", "'year' holds numbers, and '1e999' is none", 5),
        ('year="2020"', "'year' holds numbers, and '2020' is none", 0),
        ("draft=yes", "'draft' holds booleans, true or false, and 'yes' is none", 6),
        ("day=2020-02-30", "holds dates such as 2020-01-31 or 2020-01-31T12:00Z, and '2020-02-30' is none", 4),
        ("lang>=a", "'lang' holds strings, and ranges are for numbers and dates", 0),
        ("lang='x", "this quote is not closed", 5),
        ("lang any de", "'(' and a list of values should stand here, not 'de'", 9),
        ("lang any (de en)", "',' or ')' should stand here, not 'en'", 13),
        ("lang", "=, !=, <, <=, >, >=, 'any', 'all' or 'exists' should stand here", 4),
        ("id>3", "=, != or 'any' should stand here, not '>'", 2),
        ("exists=1", "the name of a field should stand here, not 'exists'", 0),
        ("blob=1", "'blob' has values that are not indexed", 0),
        ("long=1", "'long' has values that are not indexed", 0),
    ],
)
def test_an_error_in_a_text_has_a_caret_at_the_place(given, message, caret):
    with pytest.raises(FilterError) as caught:
        bound(given)
    first, line, mark = str(caught.value).split("\n")
    assert message in first
    assert f"character {caret + 1}:" in first
    assert line == f"    {given}"
    assert mark == f"    {' ' * caret}^"


def test_a_long_text_is_shown_around_the_place_and_wide_characters_count_twice():
    with pytest.raises(FilterError) as caught:
        as_filter(" ".join(["lang=日本"] * 50) + " ,")
    _, line, mark = str(caught.value).split("\n")
    assert len(line) < 80
    assert line.startswith("    …")
    assert len(mark) > len(line)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "filter: a int is no filter: give a mapping"),
        ({"lnag": "de"}, "filter['lnag']: no document has a field 'lnag': did you mean 'long' or 'lang'?"),
        ({"or": [{"lang": "de"}, {"yeer": 1}]}, "filter['or'][1]['yeer']: no document has a field 'yeer'"),
        ({"zzzzz": 1}, "fields are 'author.name', 'blob', 'day', 'draft', 'lang'"),
        ({"lang": {"anyy": ["de"]}}, "filter['lang']['anyy']: there is no operator 'anyy': did you mean 'any'?"),
        ({"author": {"name": "x"}}, "are written with dots, as 'author.name'"),
        ({"lang": {}}, "filter['lang']: no operator is given"),
        ({"lang": {"any": "de"}}, "filter['lang']['any']: 'any' takes a list of values, not 'de'"),
        ({"lang": {"exists": 1}}, "filter['lang']['exists']: 'exists' takes True or False, not 1"),
        ({"year": {"gte": "2020"}}, "filter['year']['gte']: 'year' holds numbers, and '2020' is none"),
        ({"year": [1, "x"]}, "filter['year'][1]: 'year' holds numbers, and 'x' is none"),
        ({"year": True}, "filter['year']: 'year' holds numbers, and True is none"),
        ({"draft": 1}, "filter['draft']: 'draft' holds booleans, and 1 is none"),
        ({"year": float("nan")}, "filter['year']: nan is no value to compare with"),
        ({"year": {"gt": None}}, "filter['year']['gt']: None is no value here"),
        ({"year": object}, "is a type: give a string, number, boolean or date"),
        ({"tags": {"all": ["zip", 1]}}, "filter['tags']['all'][1]: 'tags' holds strings, and 1 is none"),
        ({"or": {"lang": "de"}}, "filter['or']: 'or' takes a list of filters"),
        ({"not": ["lang"]}, "filter['not']: a list is no filter"),
        ({"id": [1.5]}, "filter['id'][0]: 1.5 is no id"),
        ({3: 1}, "filter[3]: the key is a int"),
        ({"lang": "x" * 257}, "is longer than the 256 bytes that are compared"),
    ],
)
def test_an_error_in_values_names_the_path(given, message):
    with pytest.raises(FilterError) as caught:
        bound(given)
    assert message in str(caught.value)
    assert isinstance(caught.value, QueryError)


def test_a_filter_is_bounded():
    deep = {"lang": "de"}
    for _ in range(40):
        deep = {"not": deep}
    many = {"or": [{"lang": "de"}] * 2000}
    for wanted, message in [
        (deep, "more than 32 deep"),
        ("not " * 40 + "lang=de", "more than 32 deep"),
        ("(" * 40 + "lang=de" + ")" * 40, "more than 32 deep"),
        (many, "more than 1,000 clauses"),
        (" or ".join(["lang=de"] * 2000), "more than 1,000 clauses"),
        ({"year": list(range(200_000))}, "more than 100,000 values"),
        ({"id": list(range(200_000))}, "more than 100,000 values"),
        ("x" * 1_000_001, "1,000,001 characters, at most 1,000,000"),
    ]:
        with pytest.raises(FilterError, match=message):
            as_filter(wanted)
    endless = {}
    endless["not"] = endless
    with pytest.raises(FilterError, match="more than 32 deep"):
        as_filter(endless)
