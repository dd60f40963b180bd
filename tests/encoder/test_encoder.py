"""Encoding: order, batches, empties, truncation, prefixes, memory, scores, bad input."""

import threading
import tracemalloc

import numpy as np
import pytest
import torch
from bert_checkpoint import HIDDEN, write_bert

from m3search import Encoder, Encodings, Weights, lexical_matching_score
from m3search.encoder.device import find_dtype, has_bf16
from m3search.encoder.quality import PROBES
from m3search.encoder.query_cache import QueryCache
from m3search.encoder.runner import Outputs
from m3search.errors import CheckpointError, EncoderError, InputError, WeightsError

TEXTS = [
    "the dog",
    "the quick brown fox jumps over the lazy dog",
    "",
    "fox fox fox",
    "open the library late",
    "the dog",
]


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Encoder:
    return Encoder.load(write_bert(tmp_path_factory.mktemp("bert")), device="cpu")


def assert_same(a, b):
    np.testing.assert_allclose(a.dense, b.dense, rtol=0, atol=2e-6)
    np.testing.assert_allclose(a.lexical.toarray(), b.lexical.toarray(), rtol=0, atol=2e-6)
    for left, right in zip(a.colbert, b.colbert, strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=2e-6)


@pytest.mark.parametrize("budget", [1, 17, 40, 100_000])
def test_batches_do_not_change_the_outputs(tiny, budget):
    assert_same(tiny.encode(TEXTS, colbert=True), tiny.encode(TEXTS, colbert=True, batch_tokens=budget))


def test_order_does_not_change_the_outputs(tiny):
    order = [3, 0, 5, 1, 4, 2]
    one_way, other = tiny.encode(TEXTS, colbert=True), tiny.encode([TEXTS[i] for i in order], colbert=True)
    np.testing.assert_allclose(one_way.dense[order], other.dense, rtol=0, atol=2e-6)
    np.testing.assert_allclose(one_way.lexical[order].toarray(), other.lexical.toarray(), rtol=0, atol=2e-6)
    for row, place in enumerate(order):
        np.testing.assert_allclose(one_way.colbert[place], other.colbert[row], rtol=0, atol=2e-6)


def test_shapes_types_and_norms(tiny):
    out = tiny.encode(TEXTS, colbert=True)
    assert out.dense.dtype == out.lexical.data.dtype == out.colbert[0].dtype == np.float32
    assert out.dense.shape == (6, tiny.dim)
    assert out.lexical.shape == (6, tiny.vocab_size)
    np.testing.assert_allclose(np.linalg.norm(out.dense, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(np.concatenate(out.colbert), axis=1), 1, atol=1e-6)
    spans = tiny.token_spans(TEXTS)
    # all but the first token: the text's own and the closing one
    assert [len(vectors) for vectors in out.colbert] == [len(span) + 1 for span in spans]


def test_outputs_that_were_not_asked_for_are_absent(tiny):
    assert tiny.encode(TEXTS, lexical=False).outputs == ("dense",)
    assert tiny.encode(TEXTS, dense=False).outputs == ("lexical",)
    assert tiny.encode(TEXTS, dense=False, lexical=False, colbert=True).outputs == ("colbert",)
    with pytest.raises(InputError, match="at least one"):
        tiny.encode(TEXTS, dense=False, lexical=False)


def test_no_texts(tiny):
    out = tiny.encode([], colbert=True)
    assert out.dense.shape == (0, tiny.dim)
    assert out.lexical.shape == (0, tiny.vocab_size)
    assert out.colbert == []
    assert tiny.token_spans([]) == []


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_a_text_without_words(tiny, mini, bert, text):
    for encoder in (tiny, mini, bert):
        out = encoder.encode([text, "the dog"], colbert=True)
        assert np.isfinite(out.dense).all()
        assert out.lexical_dict(0) == {}
        assert out.colbert[0].shape == (1, encoder.identity.colbert_dim)


def test_repeats_keep_the_largest_weight(bert):
    ids = bert.encode(["dog fox dog"]).lexical
    assert ids[[0]].nnz == 2
    once, twice = bert.encode(["dog fox dog"], colbert=True), bert.encode(["fox"], colbert=True)
    assert set(once.lexical_dict(0, tokens=True)) == {"dog", "fox"}
    assert set(twice.lexical_dict(0, tokens=True)) == {"fox"}


def test_special_tokens_enter_no_lexical_output(bert, mini, tiny):
    for encoder in (bert, mini):
        written = encoder.encode(["the [CLS] [SEP] [PAD] [UNK] [MASK] dog \u16a0"]).lexical_dict(0, tokens=True)
        assert set(written) <= {"the", "dog"}
    written = tiny.encode(["the <s> <pad> </s> <unk> dog \u16a0"]).lexical
    assert not set(written.indices) & {0, 1, 2, 3}


def test_mini_drops_the_ids_that_are_special_to_it(mini):
    assert mini._tokenizer.wordless.tolist() == [0, 100, 101, 102, 103]


def test_xlm_roberta_keeps_the_mask(tiny):
    assert tiny._tokenizer.wordless.tolist() == [0, 1, 2, 3]


def test_truncation_keeps_the_closing_token(tiny):
    long = "the dog " * 200
    ids = tiny._tokenizer.tokenize([long, "the dog"]).ids
    assert len(ids[0]) == tiny.max_tokens
    assert (ids[0][0], ids[0][-1]) == (0, 2)
    assert ids[1][-1] == 2
    assert len(tiny.token_spans([long])[0]) == 400
    cut = long[: tiny.token_spans([long])[0][tiny.room - 1][1]]
    assert_same(tiny.encode([long], colbert=True), tiny.encode([cut], colbert=True))


def test_the_tail_of_a_long_text_counts(mini):
    # tokenizer.json carries truncation to 128 tokens, which must not act
    head = "book " * 249
    a, b = mini.encode([head + "archive", head + "music"], lexical=False).dense
    assert len(mini.token_spans([head + "archive"])[0]) == 250
    assert np.abs(a - b).max() > 1e-4


def test_spans_point_into_the_text(mini):
    text = "Don't  split: naïve Bücher!"
    spans = mini.token_spans([text])[0]
    assert [text[start:stop] for start, stop in spans][:4] == ["Don", "'", "t", "split"]
    assert spans[-1].tolist() == [len(text) - 1, len(text)]


def test_a_lower_limit(tiny_folder):
    encoder = Encoder.load(tiny_folder, device="cpu", max_tokens=10)
    assert (encoder.max_tokens, encoder.room) == (10, 8)
    assert len(encoder.encode(["the dog " * 20], colbert=True).colbert[0]) == 9
    with pytest.raises(InputError, match="takes 1 to 64"):
        Encoder.load(tiny_folder, max_tokens=65)
    with pytest.raises(CheckpointError, match="no room"):
        Encoder.load(tiny_folder, max_tokens=2)


def test_prefixes_enter_dense_only(tmp_path):
    plain = Encoder.load(write_bert(tmp_path / "plain"), device="cpu")
    prefixes = {"query": "query: ", "passage": "passage: the "}
    encoder = Encoder.load(write_bert(tmp_path / "prefixed", extra={"prefixes": prefixes}), device="cpu")
    text = "open zip files"
    for query, prefix in ((True, "query: "), (False, "passage: the ")):
        out = encoder.encode([text, ""], query=query, colbert=True)
        whole = plain.encode([prefix + text], colbert=True)
        np.testing.assert_allclose(out.dense[:1], whole.dense, atol=1e-6)
        assert set(out.lexical_dict(0, tokens=True)) == {"open", "zip", "file", "##s"}
        # token vectors are those of the whole text without the prefix's: 4 words and the closing token
        np.testing.assert_allclose(out.colbert[0], whole.colbert[0][-5:], atol=1e-6)
        assert out.lexical_dict(1) == {}
        assert len(out.colbert[1]) == 1
    assert plain.room - encoder.room == 3
    assert encoder.identity.files["prefixes"]
    assert not encoder.identity.same_vectors(plain.identity)


def test_prompts_of_sentence_transformers_are_prefixes(tmp_path):
    folder = write_bert(tmp_path)
    prompts = '{"prompts": {"query": "query: ", "document": "passage: "}, "default_prompt_name": null}'
    (folder / "config_sentence_transformers.json").write_text(prompts)
    encoder = Encoder.load(folder, device="cpu")
    assert encoder.room == 32 - 2 - 2
    assert np.abs(encoder.encode(["dog"], query=True).dense - encoder.encode(["dog"]).dense).max() > 1e-3


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_pooling(tmp_path, pooling):
    from transformers import BertModel

    folder = write_bert(tmp_path, pooling=pooling)
    encoder = Encoder.load(folder, device="cpu")
    assert encoder.identity.pooling == pooling
    ids = encoder._tokenizer.tokenize(["the dog open"]).ids[0]
    model = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    with torch.no_grad():
        states = model(input_ids=torch.tensor(ids[None], dtype=torch.long)).last_hidden_state[0]
    expected = states[0] if pooling == "cls" else states.mean(dim=0)
    dense = encoder.encode(["the dog open", "the " * 20], lexical=False).dense
    np.testing.assert_allclose(dense[0], (expected / expected.norm()).numpy(), atol=1e-6)
    assert dense.shape == (2, HIDDEN)


def test_memory_does_not_grow_with_the_vocabulary(tmp_path):
    encoder = Encoder.load(write_bert(tmp_path, vocab_size=2**20), device="cpu")
    texts = ["the dog open fox"] * 512
    encoder.encode(texts[:1])
    tracemalloc.start()
    with torch.profiler.profile(profile_memory=True) as profile:
        out = encoder.encode(texts, batch_tokens=8192)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    largest = max(event.cpu_memory_usage for event in profile.events())
    assert out.lexical.shape == (512, 2**20)
    # [B, vocab] alone would take 2 GiB, one row of it 4 MiB
    assert peak < 32 * 2**20
    assert 0 < largest < 16 * 2**20


def test_several_threads_get_the_answers_of_one(tiny):
    expected, answers = tiny.encode(TEXTS, colbert=True), [None] * 4

    def work(place):
        answers[place] = tiny.encode(TEXTS, colbert=True)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer in answers:
        assert_same(expected, answer)


def test_threads_are_set_for_the_call_only(tiny_folder):
    before = torch.get_num_threads()
    encoder = Encoder.load(tiny_folder, device="cpu", threads=1)
    encoder.encode(TEXTS)
    assert torch.get_num_threads() == before
    with pytest.raises(InputError, match="threads is 0"):
        Encoder.load(tiny_folder, threads=0)


def test_loading_leaves_no_trace(tiny_folder):
    from transformers.utils import logging

    state, level, bars = torch.get_rng_state(), logging.get_verbosity(), logging.is_progress_bar_enabled()
    Encoder.load(tiny_folder, device="cpu")
    assert torch.equal(torch.get_rng_state(), state)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (level, bars)


def test_half_precision_is_near(tiny, tiny_folder):
    half = Encoder.load(tiny_folder, device="cpu", dtype="bf16").encode(TEXTS, colbert=True)
    assert half.dense.dtype == np.float32
    np.testing.assert_allclose(half.dense, tiny.encode(TEXTS).dense, atol=0.05)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a", 3], "text 1 is a int"),
        (["a", "b", None], "text 2 is a NoneType"),
        (["fine", "broken \ud800"], "text 1 has a lone surrogate at character 7"),
        ("a text", r"write \[text\]"),
    ],
)
def test_texts_that_are_none(tiny, texts, message):
    with pytest.raises(InputError, match=message):
        tiny.encode(texts)
    with pytest.raises(InputError, match=message):
        tiny.token_spans(texts)


def test_batch_tokens_below_one(tiny):
    with pytest.raises(InputError, match="batch_tokens is 0"):
        tiny.encode(["a"], batch_tokens=0)


def test_int8_says_what_it_costs(tiny_folder, tiny, capsys):
    encoder = Encoder.load(tiny_folder, device="cpu", dtype="int8")
    printed = capsys.readouterr().err
    assert f"{tiny_folder} in int8: cosine to fp32 over 8 texts: mean {encoder.int8_similarity.mean:.4f}" in printed
    assert tiny.int8_similarity is None
    exact, near = tiny.encode(PROBES).dense, encoder.encode(PROBES).dense
    cosines = (exact * near).sum(axis=1)
    assert encoder.int8_similarity.mean == pytest.approx(cosines.mean(), abs=1e-5)
    assert encoder.int8_similarity.least == pytest.approx(cosines.min(), abs=1e-5)
    assert 0.98 < encoder.int8_similarity.least < 0.999999


def test_int8_does_not_depend_on_the_batch(tiny_folder):
    encoder = Encoder.load(tiny_folder, device="cpu", dtype="int8")
    alone = encoder.encode(TEXTS, batch_tokens=1)
    np.testing.assert_allclose(encoder.encode(TEXTS).dense, alone.dense, rtol=0, atol=2e-3)
    with pytest.raises(EncoderError, match="has no padded way"):
        Encoder.load(tiny_folder, device="cpu", dtype="int8", padded=True)
    with pytest.raises(EncoderError, match='"int8" is for the CPU, and the device is meta'):
        find_dtype("int8", torch.device("meta"))


def test_fast_is_what_the_processor_has(tmp_path):
    for flags, expected in (("fpu avx512f avx512_bf16", True), ("fpu avx2", False)):
        (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags\t\t: {flags}\n\nprocessor : 1\n")
        assert has_bf16(tmp_path / "cpuinfo") is expected
    (tmp_path / "cpuinfo").write_text("processor : 0\nFeatures\t: fp asimd bf16\n")
    assert has_bf16(tmp_path / "cpuinfo")
    assert not has_bf16(tmp_path / "absent")
    assert find_dtype("fast", torch.device("cpu")) == (torch.bfloat16 if has_bf16() else torch.float32)


def forwards(encoder):
    """Counts what goes through the first layer."""
    first, seen = encoder._runner._model._backbone._layers[0], []

    def layer(states, lengths):
        seen.append(len(lengths))
        return first(states, lengths)

    encoder._runner._model._backbone._layers[0] = layer
    return seen


def test_a_query_is_one_forward_and_none_when_it_comes_again(tiny_folder, tiny):
    encoder = Encoder.load(tiny_folder, device="cpu")
    seen = forwards(encoder)
    first = encoder.encode(["the dog"], query=True, colbert=True)
    assert seen == [1]
    expected = tiny.encode(["the dog"], colbert=True)
    # what a caller does to its vectors reaches nobody else
    first.dense[:] = 0
    first.colbert[0][:] = 0
    assert_same(encoder.encode(["the dog"], query=True, colbert=True), expected)
    assert seen == [1]
    # other outputs, other texts, passages and several queries are encoded
    assert encoder.encode(["the dog"], query=True).outputs == ("dense", "lexical")
    encoder.encode(["the fox"], query=True)
    encoder.encode(["the dog"])
    encoder.encode(["the dog", "the fox"], query=True)
    assert seen == [1, 1, 1, 1, 2]


def test_the_oldest_query_is_forgotten():
    made = []
    cache = QueryCache(size=2)

    def get(text):
        def encode():
            made.append(text)
            return Encodings(dense=np.ones((1, 2), np.float32))

        return cache.get(text, Outputs(lexical=False), encode)

    for text in ("a", "b", "a", "c", "a", "b", "x" * 1001, "x" * 1001):
        get(text)
    assert made == ["a", "b", "c", "b", "x" * 1001, "x" * 1001]


def test_devices_and_types_that_are_not_there(tiny_folder):
    with pytest.raises(EncoderError, match="no device 'nowhere'"):
        Encoder.load(tiny_folder, device="nowhere")
    with pytest.raises(EncoderError, match="dtype is 'int3'"):
        Encoder.load(tiny_folder, device="cpu", dtype="int3")


def test_lexical_matching_score_takes_any_keys(tiny):
    out = tiny.encode(["the quick dog", "the lazy dog"])
    a, b = out.lexical_dict(0), out.lexical_dict(1)
    expected = float((out.lexical[[0]] @ out.lexical[[1]].T).toarray()[0, 0])
    assert expected > 0
    assert lexical_matching_score(a, b) == pytest.approx(expected, rel=1e-6)
    assert lexical_matching_score({int(key): value for key, value in a.items()}, b) == pytest.approx(expected, rel=1e-6)


def test_scores_of_one_pair_are_numbers(tiny):
    one, many = tiny.compute_score(("the dog", "the fox")), tiny.compute_score([("the dog", "the fox")])
    assert {name: [value] for name, value in one.items()} == many
    assert tiny.compute_score([["the dog", "the fox"]]) == many
    assert tiny.compute_score([])["dense"] == []


def test_scores_do_not_depend_on_the_other_pairs(tiny):
    pairs = [("the dog", text) for text in TEXTS] + [(text, "fox") for text in TEXTS] * 40
    scores = tiny.compute_score(pairs)
    for position in (0, 2, 7, len(pairs) - 1):
        alone = tiny.compute_score(pairs[position])
        for name, value in alone.items():
            assert scores[name][position] == pytest.approx(value, abs=2e-6)


def test_weights_of_colbert_alone(tiny):
    scores = tiny.compute_score([("the dog", "the fox")], [0, 0, 1])
    assert scores["colbert+sparse+dense"] == pytest.approx(scores["colbert"])
    assert scores["sparse+dense"] == [0.0]
    by_name = tiny.compute_score([("the dog", "the fox")], Weights(colbert=1))
    assert by_name == scores


@pytest.mark.parametrize("weights", [[1, 1], [1, -1, 1], [float("nan"), 1, 1], [0, 0, 0], [float("inf"), 1, 1]])
def test_weights_that_make_no_blend(tiny, weights):
    with pytest.raises(WeightsError):
        tiny.compute_score([("the dog", "the fox")], weights)


@pytest.mark.parametrize("pairs", [["a"], [("a", 3)], [("a", "b", "c")], [("a", "b"), None]])
def test_pairs_that_are_none(tiny, pairs):
    with pytest.raises(InputError, match="is no pair of texts"):
        tiny.compute_score(pairs)


def test_recommended_weights(tiny, mini, tmp_path):
    assert tiny.recommended_weights == Weights(dense=1, lexical=0.3, colbert=1)
    assert mini.recommended_weights.bm25 > 0
    own = Encoder.load(write_bert(tmp_path, extra={"weights": {"dense": 2}}), device="cpu")
    assert own.recommended_weights == Weights(dense=2)
