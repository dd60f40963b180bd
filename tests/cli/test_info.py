"""What ``m3search info`` says of postings, and of the bytes that a reader in another process keeps from use."""

from m3search import Index
from m3search.cli.terminal import readable_bytes
from m3search.storage import Environment, Snapshot

FREQUENT, RARE = 300, 40


def build(path):
    """One term in all of 300 documents, and 40 in one each."""
    texts = (f"common {f'rare{number}' if number < RARE else ''}" for number in range(FREQUENT))
    Index.build(texts, path, encoder=None, segment_size=150).close()


def test_postings_of_rare_and_frequent_terms_are_shown_apart(m3search, tmp_path):
    build(tmp_path / "i")
    shown = m3search("info", tmp_path / "i", "--json").json
    field = shown["inverted"]["bm25"]
    # "common" is in both segments, and counts in each
    assert (field["postings"], field["frequent_postings"], field["rare_postings"]) == (FREQUENT + RARE, FREQUENT, RARE)
    assert (field["terms"], field["frequent_terms"], field["rare_terms"]) == (RARE + 2, 2, RARE)
    assert shown["segments"] == 2
    people = m3search("info", tmp_path / "i", COLUMNS="300").out
    assert "bm25 postings" in people
    assert f"340: 300 of 2 frequent terms, 40 of 40 rare ones; {field['bytes_per_posting']} bytes a posting" in people
    assert f"{field['forward_bytes_per_posting']} more in the forward store" in people
    assert "_" not in people.split("bm25 postings")[1].split("bytes ")[0]


def test_bytes_that_an_old_reader_pins_are_shown(m3search, tmp_path):
    path = tmp_path / "i"
    build(path)
    environment = Environment.open(path / "store")
    held = Snapshot.latest(environment, path)
    shown = [m3search("info", path, "--json").json]
    with Index.open(path, mode="w") as writer:
        for number in range(3):
            writer.delete([str(number)])
            shown.append(m3search("info", path, "--json").json)
        pinned = [one["bytes"]["pinned"] for one in shown]
        assert pinned[0] == 0
        assert pinned == sorted(set(pinned))
        assert [one["readers"]["behind"] for one in shown] == [0, 1, 2, 3]
        for one in shown:
            sizes = one["bytes"]
            assert sizes["store"] == sizes["live"] + sizes["free"]
            assert sizes["pinned"] <= sizes["free"]
        people = m3search("info", path, COLUMNS="300").out
        assert f"pinned {readable_bytes(pinned[-1])}" in people
        held.release()
        assert m3search("info", path, "--json").json["bytes"]["pinned"] == 0
    environment.close()
