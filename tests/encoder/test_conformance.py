"""Every way through the encoder against the same suite: golden values, order, batches, empties, special strings, limits.

The ways: transformers' padded modules (the oracle), our own forward pass, the same with torch's plain linear layers, the
same with the attention that other devices get, in bf16, in int8, and as a stream.
"""

import importlib.util
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from bert_checkpoint import write_bert

from m3search import Encoder
from m3search.encoder import attention, backbone, linear
from m3search.records import Encodings

GOLDEN = Path(__file__).parents[1] / "golden"
TOLERANCE = {"bf16": 6e-2, "int8": 6e-2}
FP32 = 1e-5
PATHS = ("padded", "packed", "plain", "other devices' attention", "iter", "bf16", "int8")

Encode = Callable[..., Encodings]


@contextmanager
def replaced(module, name, value):
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def encode_of(folder, path: str) -> Encode:
    """Texts to all three outputs by one of the ways."""
    if path == "other devices' attention":
        encoder = Encoder.load(folder, device="cpu")

        def encode(texts, **options):
            with replaced(backbone, "attend", attention.attend_padded):
                return encoder.encode(texts, colbert=True, **options)

        return encode
    if path == "plain":
        with replaced(linear, "packs", lambda dtype: False):
            encoder = Encoder.load(folder, device="cpu")
    else:
        encoder = Encoder.load(
            folder, device="cpu", padded=path == "padded", dtype="bf16" if path == "bf16" else "fp32"
        )
    if path == "iter":
        return lambda texts, **options: Encodings.concatenate([*encoder.encode_iter(texts, colbert=True, **options)])
    return lambda texts, **options: encoder.encode(texts, colbert=True, **options)


@pytest.fixture(scope="module", params=PATHS)
def path(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def encode(path, tiny_folder) -> Encode:
    return encode_of(tiny_folder, path)


@pytest.fixture(scope="module")
def tolerance(path) -> float:
    return TOLERANCE.get(path, FP32)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    spec = importlib.util.spec_from_file_location("golden_texts_again", GOLDEN / "texts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.TEXTS


def assert_same(a: Encodings, b: Encodings, tolerance: float) -> None:
    np.testing.assert_allclose(a.dense, b.dense, rtol=0, atol=tolerance)
    np.testing.assert_allclose(a.lexical.toarray(), b.lexical.toarray(), rtol=0, atol=tolerance)
    assert [len(vectors) for vectors in a.colbert] == [len(vectors) for vectors in b.colbert]
    np.testing.assert_allclose(np.concatenate(a.colbert), np.concatenate(b.colbert), rtol=0, atol=tolerance)


def test_golden(encode, texts, tolerance):
    """FlagEmbedding's own outputs."""
    with np.load(GOLDEN / "flagembedding.npz", allow_pickle=False) as file:
        golden = dict(file)
    out = encode(texts)
    np.testing.assert_allclose(out.dense, golden["dense"], rtol=0, atol=tolerance)
    np.testing.assert_allclose(np.concatenate(out.colbert), golden["colbert"], rtol=0, atol=2 * tolerance)
    theirs = np.zeros(out.lexical.shape, np.float32)
    rows = np.repeat(np.arange(len(texts)), np.diff(golden["lexical_indptr"]))
    theirs[rows, golden["lexical_ids"]] = golden["lexical_weights"]
    np.testing.assert_allclose(out.lexical.toarray(), theirs, rtol=0, atol=5 * tolerance)
    assert (out.dense * golden["dense"]).sum(axis=1).min() > 1 - tolerance / 20


def test_order(encode, texts, tolerance):
    order = np.random.default_rng(3).permutation(len(texts))
    out, other = encode(texts), encode([texts[row] for row in order])
    assert_same(Encodings(out.dense[order], out.lexical[order], [out.colbert[row] for row in order]), other, tolerance)


@pytest.mark.parametrize("budget", [1, 33, 200, 10_000])
def test_batches(encode, texts, tolerance, budget):
    assert_same(encode(texts), encode(texts, batch_tokens=budget), tolerance)


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_empty(encode, text):
    out = encode([text, "the dog"])
    assert out.lexical_dict(0) == {}
    assert len(out.colbert[0]) == 1
    np.testing.assert_allclose(np.linalg.norm(out.dense, axis=1), 1, atol=1e-6)


def test_special_strings(encode, tiny_folder, tolerance):
    """A padding token written out is a token: it is attended to, and positions are counted past it, as in transformers."""
    written = ["a <pad> dog <pad> <pad> fox", "<pad>", "</s> <s> <unk> <mask>", "dog" * 40, "fox"]
    out = encode(written)
    assert not set(out.lexical.indices) & {0, 1, 2, 3}
    assert_same(out, encode_of(tiny_folder, "padded")(written), tolerance)


def test_limit(encode, tiny, tolerance):
    long = "the dog " * 200
    cut = long[: tiny.token_spans([long])[0][tiny.room - 1][1]]
    out = encode([long, cut])
    assert [len(vectors) for vectors in out.colbert] == [tiny.max_tokens - 1] * 2
    np.testing.assert_allclose(out.dense[0], out.dense[1], rtol=0, atol=tolerance)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("way", PATHS)
def test_a_bert_backbone(tmp_path, way, pooling):
    """Against the oracle, with a prefix, in batches of many lengths."""
    folder = write_bert(tmp_path, pooling=pooling, extra={"prefixes": {"passage": "passage: the "}})
    generator = np.random.default_rng(11)
    words = ["the", "dog", "fox", "foxs", "open", "read", "file", "zip", "[PAD]", "\u16a0"]
    texts = [" ".join(generator.choice(words, generator.integers(0, 40))) for _ in range(60)]
    expected = encode_of(folder, "padded")(texts)
    assert_same(encode_of(folder, way)(texts, batch_tokens=150), expected, TOLERANCE.get(way, FP32))


def test_mini_as_the_oracle_has_it(mini):
    texts = ["how do I open a zip file", "", "x " * 300, "[SEP] and [PAD]", "Die Bücherei öffnet um neun Uhr"] * 3
    assert_same(mini.encode(texts, colbert=True), encode_of("mini", "padded")(texts), FP32)


@pytest.mark.parametrize(("dtype", "cosine", "correlation"), [("bf16", 0.999, 0.999), ("int8", 0.997, 0.998)])
def test_mini_in_fewer_bits_keeps_similarities(mini, dtype, cosine, correlation):
    texts = [f"{'open the zip file ' * (row % 7)}and read archive number {row}" for row in range(60)]
    exact, near = mini.encode(texts).dense, Encoder.load("mini", device="cpu", dtype=dtype).encode(texts).dense
    assert (exact * near).sum(axis=1).min() > cosine
    upper = np.triu_indices(len(texts), 1)
    assert np.corrcoef((exact @ exact.T)[upper], (near @ near.T)[upper])[0, 1] > correlation
