"""Every command on a small collection: results, JSON, files, exit codes, and what stands where."""

import json
import re
import shutil
from pathlib import Path

import pytest

from m3search import Encoder, Index
from m3search.cli.estimate import estimate_build
from m3search.cli.terminal import readable_bytes
from m3search.indexing.sources import open_source
from m3search.storage.token_vectors import token_bytes

CHECKPOINT = Path(__file__).parents[1] / "golden" / "checkpoint"


def lines(*documents):
    return "".join(json.dumps(document) + "\n" for document in documents)


def test_build_says_what_it_built(m3search, collection, tmp_path):
    result = m3search("build", collection, "--index", tmp_path / "i", "--encoder", CHECKPOINT)
    assert result.code == 0
    assert result.out.startswith(f"{tmp_path / 'i'}: 6 documents in 6 passages, ")
    assert result.err == ""
    with Index.open(tmp_path / "i") as index:
        assert len(index) == 6
        assert index.info()["legs"] == ["dense", "lexical", "bm25"]


def test_build_as_json_reports_what_it_skipped(m3search, tmp_path):
    source = tmp_path / "docs.jsonl"
    source.write_text(lines({"id": 1, "text": "one"}, {"text": "no id"}, {"id": 3, "text": ""}) + "{broken\n")
    command = ("build", source, "--index", tmp_path / "i", "--encoder", "none", "--json")
    result = m3search(*command, "--on-error", "skip")
    assert result.code == 0
    report = result.json
    assert report["documents"] == 2
    assert report["empty"] == {"count": 1, "ids": ["3"]}
    assert [record["where"] for record in report["skipped"]["records"]] == [f"{source}:2", f"{source}:4"]
    assert report["bytes"] > 0
    people = m3search(*command[:-1], "--on-error", "skip", "--overwrite")
    assert "2 records skipped" in people.err
    assert "1 document has no text" in people.err


def test_build_stops_at_a_bad_record_and_leaves_nothing(m3search, tmp_path):
    source = tmp_path / "docs.jsonl"
    source.write_text(lines({"id": 1, "text": "one"}, {"text": "no id"}))
    result = m3search("build", source, "--index", tmp_path / "i", "--encoder", "none")
    assert result.code == 1
    assert result.out == ""
    assert result.err.startswith(f"error: {source}:2: there is no id")
    assert not (tmp_path / "i").exists()


def test_build_reads_standard_input_and_several_sources(m3search, tmp_path):
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "a.md").write_text("# Heading\n\nmarkdown body\n")
    (tmp_path / "t.csv").write_text("id,text\nc,from a table\n")
    command = ("build", "-", notes, tmp_path / "t.csv", "--index", tmp_path / "i", "--encoder", "none", "--json")
    result = m3search(*command, stdin=lines({"id": "s", "text": "from a stream"}))
    assert result.code == 0, result.err
    assert result.json["documents"] == 3
    with Index.open(tmp_path / "i") as index:
        assert {document.id for document in index} >= {"s", "c"}


def test_build_makes_the_dense_index_that_is_asked_for_and_info_shows_it(m3search, collection, tmp_path):
    command = ("build", collection, "--index", tmp_path / "i", "--encoder", CHECKPOINT, "--dense", "hnsw")
    result = m3search(*command, "--dense-options", "M=8, efConstruction=40", "--threads", "1")
    assert result.code == 0, result.err
    shown = m3search("info", tmp_path / "i", "--verify", "--json").json["dense"]
    assert (shown["kind"], shown["M"], shown["efConstruction"]) == ("hnsw", 8, 40)
    assert [one["passages"] for one in shown["indexes"]] == [6]
    assert shown["recall@10"] == shown["recall@100"] == 1
    people = m3search("info", tmp_path / "i", COLUMNS="300").out
    assert "kind hnsw, M 8, efConstruction 40, recall@10 1.0, recall@100 1.0, indexes kind hnsw, passages 6" in people
    found = m3search("search", tmp_path / "i", "zip", "--dense-effort", "5", "--json").json
    assert found["guarantee"] == "exact"
    refused = m3search("search", tmp_path / "i", "zip", "--dense-effort", "0")
    assert refused.code == 1
    assert "dense_effort is 0: give a whole number from 1" in refused.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dense", "pq"], "dense is 'pq': give one of auto, flat, hnsw, ivf"),
        (["--dense", "ivf", "--dense-options", "M=8"], "dense='ivf' has no option 'M': it takes nlist"),
        (["--dense", "hnsw", "--dense-options", "M"], "'M' is not NAME=NUMBER: write for example M=32"),
    ],
)
def test_build_refuses_dense_settings_that_are_none(m3search, collection, tmp_path, options, message):
    result = m3search("build", collection, "--index", tmp_path / "i", "--encoder", CHECKPOINT, *options)
    assert result.code == 1
    assert message in result.err
    assert not (tmp_path / "i").exists()


def test_build_does_not_overwrite_unless_told(m3search, collection, tmp_path):
    command = ("build", collection, "--index", tmp_path / "i", "--encoder", "none")
    assert m3search(*command).code == 0
    again = m3search(*command)
    assert again.code == 1
    assert "holds an index already" in again.err
    assert m3search(*command, "--overwrite").code == 0


def test_a_long_build_is_estimated_first(m3search, tmp_path):
    source = tmp_path / "docs.jsonl"
    source.write_text(lines(*({"id": n, "text": f"document number {n} of many"} for n in range(1500))))
    result = m3search("build", source, "--index", tmp_path / "i", "--encoder", CHECKPOINT)
    assert result.code == 0, result.err
    assert result.err.startswith("about 1,500 documents: ")
    assert "of disk, going by the first 48" in result.err
    assert "token vectors" not in result.err
    silent = m3search("build", source, "--index", tmp_path / "i", "--encoder", "none", "--overwrite", "--no-estimate")
    assert silent.err == ""


def test_an_estimate_tells_what_token_vectors_take(tmp_path):
    source = tmp_path / "docs.jsonl"
    texts = [f"document number {number} of many" for number in range(1500)]
    source.write_text(lines(*({"id": number, "text": text} for number, text in enumerate(texts))))
    encoder = Encoder.load(CHECKPOINT, threads=1)
    told = {}
    for codec in ("int8", "bf16", "int8+bits"):
        estimate = estimate_build(open_source(source), {"encoder": encoder, "colbert": codec}, tmp_path / "i")
        assert f"; {readable_bytes(estimate.token_vectors)} of it are token vectors (--colbert)" in str(estimate)
        assert estimate.token_vectors < estimate.size
        told[codec] = estimate.token_vectors
    assert told["int8"] < told["int8+bits"] < told["bf16"]
    with Index.build(texts[:300], encoder=encoder, colbert="int8") as index:
        colbert = index.info()["colbert"]
    assert told["int8"] == pytest.approx(5 * colbert["bytes"], rel=0.2)
    assert colbert["bytes"] > colbert["tokens"] * token_bytes(colbert["dim"], "int8")


def test_search_shows_parts_and_ids(m3search, built):
    result = m3search("search", built, "zip archives", "-k", 2, "--weights", "dense=1,bm25=1")
    assert result.code == 0
    header = result.out.splitlines()[2]
    assert header.split() == ["#", "score", "dense", "bm25", "document"]
    assert "zip" in result.out
    assert "2 hits, exact" in result.out


def test_search_as_json_is_what_the_library_says(m3search, built):
    result = m3search("search", built, "threads wait", "-k", 3, "--json")
    with Index.open(built) as index:
        expected = index.search("threads wait", 3)
        assert [hit["id"] for hit in result.json["hits"]] == expected.ids
        assert result.json["hits"][0]["parts"] == pytest.approx(dict(expected[0].parts), abs=1e-6)
    assert result.json["query"] == "threads wait"
    assert result.json["guarantee"] == expected.guarantee


def test_search_explains_itself(m3search, built):
    arguments = ("search", built, "zip archives", "-k", 2, "--weights", "dense=1,bm25=1,colbert=1", "--explain")
    drawn = m3search(*arguments)
    assert drawn.code == 0
    for text in (
        "top 2: certified blend in ",
        "├── round 1, ",
        "│   ├── bm25, weight 1: ",
        "rerank 6 documents by",
        "~",
    ):
        assert text in drawn.out
    found = m3search(*arguments, "--json").json
    assert found["explanation"]["guarantee"] == found["guarantee"] == "exact over the rerank set"
    assert list(found["explanation"]["trace"]["rounds"][0]["legs"]) == ["dense", "bm25"]
    for hit in found["hits"]:
        explained = hit["explanation"]
        assert sum(part["contribution"] for part in explained["parts"]) == pytest.approx(hit["score"], abs=1e-6)
        products = [match["product"] for match in explained["matches"]["bm25"]]
        assert sum(products) == pytest.approx(hit["parts"]["bm25"], abs=1e-6)
        similarities = [pair["similarity"] for pair in explained["pairs"]]
        assert sum(similarities) / len(similarities) == pytest.approx(hit["parts"]["colbert"], abs=1e-6)
    assert {match["token"] for match in found["hits"][0]["explanation"]["matches"]["bm25"]} == {"zip", "archiv"}


def test_search_shows_a_plan_without_running_it(m3search, built):
    shown = m3search("search", built, "zip archives", "--plan", "--weights", "m3", "--offset", 20)
    assert shown.out.splitlines()[0] == "ranks 21 to 30: certified blend"
    assert "rerank of 100 documents by dense 1, lexical 0.3, colbert 1" in shown.out
    plan = m3search("search", built, "zip", "--plan", "--fusion", "rrf", "--depth", 7, "--json").json["plan"]
    assert (plan["strategy"], plan["depth"], plan["fusion"]["kind"]) == ("fused lists", 7, "rrf")


def test_search_pages_and_lists(m3search, built):
    whole = m3search("search", built, "zip archives", "-k", 6, "--weights", "dense=1", "--json").json["hits"]
    page = m3search("search", built, "zip archives", "-k", 2, "--offset", 2, "--weights", "dense=1", "--json").json
    assert page["hits"] == whole[2:4]
    listed = m3search("search", built, "", "--id", "zip", "--id", "csv", "--json").json
    assert [hit["id"] for hit in listed["hits"]] == ["csv", "zip"]
    stopped = m3search("search", built, "zip archives", "-k", 1, "--max-candidates", 2, "--weights", "dense=1,bm25=1")
    assert "1 hits, " in stopped.out


def test_search_in_some_documents_only(m3search, built):
    result = m3search("search", built, "read archives", "--id", "tar", "--id", "json", "--json")
    assert {hit["id"] for hit in result.json["hits"]} == {"tar", "json"}


def test_markup_in_a_query_is_text(m3search, built):
    result = m3search("search", built, "[bold]zip[/bold]")
    assert "[bold]zip[/bold]" in result.out


def test_no_hits_is_an_answer(m3search, built):
    result = m3search("search", built, "xylophone", "--weights", "bm25=1")
    assert result.code == 0
    assert result.out == "xylophone: no hits\n"


def test_eval_measures_and_writes_a_run(m3search, built, collection, tmp_path):
    run = tmp_path / "out.trec"
    command = ("eval", built, collection, "--weights", "bm25=1", "--run", run)
    result = m3search(*command, "-m", "nDCG@10", "-m", "P@1", "--json")
    assert result.code == 0, result.err
    with Index.open(built) as index:
        expected = index.evaluate(collection, measures=["nDCG@10", "P@1"], weights="bm25=1")
    assert result.json["values"] == dict(expected.values)
    assert result.json["values"]["P@1"] == 1.0
    assert [line.split()[0] for line in run.read_text().splitlines()][:1] == ["q1"]
    fused = m3search("eval", built, collection, "--fusion", "rrf", "--missing", "zero", "--depth", 3, "--json")
    assert fused.json["fusion"] == "rrf"
    assert fused.json["values"]["nDCG@10"] > 0.5
    people = m3search(*command)
    assert "tiny/test, 2 queries" in people.out
    assert "nDCG@10" in people.out


def test_info_counts_and_verifies(m3search, built):
    result = m3search("info", built, "--verify", "--json")
    assert result.code == 0
    assert result.json["documents"] == 6
    assert result.json["verified"] is True
    assert result.json["legs"] == ["dense", "lexical", "bm25", "colbert"]
    people = m3search("info", built)
    assert "dense, lexical, bm25, colbert" in people.out


def test_info_of_a_damaged_index_fails(m3search, built, tmp_path):
    shutil.copytree(built, tmp_path / "i")
    vectors = next((tmp_path / "i" / "segments").glob("*.vectors"))
    damaged = bytearray(vectors.read_bytes())
    damaged[-1] ^= 1
    vectors.write_bytes(damaged)
    result = m3search("info", tmp_path / "i", "--verify")
    assert result.code == 1
    assert "checksum" in result.err
    assert result.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "{nowhere}", "zip"], "is not there"),
        (["search", "{built}", "zip", "-k", "0"], "k is 0"),
        (["search", "{built}", "zip", "--weights", "foo=1"], "no leg named 'foo'"),
        (["search", "{built}", "zip", "--weights", "dense=-1"], "-1"),
        (["eval", "{built}", "{nowhere}"], "no such folder"),
        (["eval", "{built}", "{collection}", "--split", "dev"], "the splits there are test"),
        (["info", "{nowhere}"], "is not there"),
        (["build", "{nowhere}", "--index", "{nowhere}"], "no such file"),
        (["build", "{collection}", "--index", "{nowhere}", "--on-error", "guess"], "on_error is 'guess'"),
        (["build", "{collection}", "--index", "{nowhere}", "--encoder", "{nowhere}"], "no encoder"),
    ],
)
def test_what_fails_says_so_and_exits_with_1(m3search, built, collection, tmp_path, arguments, message):
    places = {"nowhere": tmp_path / "nowhere", "built": built, "collection": collection}
    result = m3search(*(argument.format(**places) for argument in arguments))
    assert result.code == 1
    assert result.err.startswith("error: ")
    assert message in result.err
    assert "Traceback" not in result.err
    assert result.out == ""
    assert not (tmp_path / "nowhere").exists()


def test_wrong_arguments_exit_with_2(m3search):
    assert m3search("search").code == 2
    assert m3search("fly").code == 2
    assert m3search("search", "x", "y", "-k", "many").code == 2


def test_doctor_runs_everything_once(m3search):
    result = m3search("doctor", "--json")
    checks = {check["name"]: check for check in result.json["checks"]}
    assert result.code == (0 if all(check["ok"] for check in checks.values()) else 1)
    assert {"torch", "faiss", "search loops", "store", "encoder mini"} == set(checks)
    assert checks["search loops"]["result"].startswith("loaded from numba's cache, ")
    assert checks["store"]["result"].startswith("built, verified and searched 2 documents, 1 hit")
    assert result.json["versions"]["torch"]


def test_warm_says_how_long_it_took(m3search):
    result = m3search("warm")
    assert (result.code, result.err) == (0, "")
    assert re.fullmatch(r"search loops are ready: \d+\.\d s\n", result.out)
    assert 0 < m3search("warm", "--json").json["seconds"] < 60
