"""Commands that change an index."""

import json
import shutil

import pytest


@pytest.fixture
def index(built, tmp_path):
    shutil.copytree(built, tmp_path / "i")
    return tmp_path / "i"


def test_documents_come_and_go(m3search, index, tmp_path):
    more = tmp_path / "more.jsonl"
    more.write_text(
        "".join(json.dumps({"id": name, "text": f"a new text of {name}"}) + "\n" for name in ("zip", "bzip2"))
    )
    refused = m3search("add", index, more)
    assert refused.code == 1
    assert "more.jsonl:1: the id 'zip' is in the index already" in refused.err.replace("\n", "")
    added = m3search("add", index, more, "--replace", "--json").json
    assert (added["documents"], added["replaced"], added["held"]) == (2, 1, 7)
    assert "text of bzip2" in m3search("search", index, "bzip2", "--weights", "bm25=1").out
    assert "2 documents deleted, 5 left" in m3search("delete", index, "-", stdin="bzip2\nzip\n").out
    gone = m3search("delete", index, "csv", "bzip2")
    assert (gone.code, "there is no document 'bzip2' to delete" in gone.err) == (1, True)
    assert m3search("info", index, "--json", "--verify").json["documents"] == 5
    merged = m3search("merge", index, "--json").json
    assert (merged["segments"], merged["documents"], merged["purged"], merged["left"]) == (
        1,
        5,
        1,
        1,
    )  # the other one went with its last document
    assert "0 segments merged, 0 deleted documents purged; 1 segment now" in m3search("merge", index).out
    assert m3search("delete", index, "csv", "--json").json["deleted"] == 1
    done = m3search("compact", index, "--json").json
    assert (done["before"] - done["after"], done["index"]) == (done["freed"], str(index))
    assert done["freed"] > 0
    assert "given back" in m3search("compact", index).out
    assert m3search("info", index, "--json", "--verify").json["documents"] == 4


def test_an_index_is_checked_and_copied(m3search, index, tmp_path):
    assert m3search("check", index, "--level", "3").out.endswith("sound, as far as level 3 looks\n")
    done = m3search("snapshot", index, tmp_path / "copy", "--json").json
    assert (done["documents"], done["generation"]) == (6, 1)
    assert m3search("snapshot", index, tmp_path / "copy").code == 1
    path = next((tmp_path / "copy" / "segments").glob("*.vectors"))
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    found = m3search("check", tmp_path / "copy", "--json")
    assert found.code == 1
    assert (found.json["sound"], len(found.json["findings"])) == (False, 1)
    assert "does not match its checksum" in found.json["findings"][0]["what"]
    assert m3search("check", tmp_path / "copy", "--level", "1").code == 0
    none = m3search("check", tmp_path, "--json")
    assert (none.code, none.json["sound"], "holds no index" in none.json["error"]) == (2, None, True)
    again = m3search("snapshot", tmp_path / "copy", tmp_path / "second")
    assert (again.code, "does not match its checksum" in again.err) == (1, True)
    assert not (tmp_path / "second").exists()
