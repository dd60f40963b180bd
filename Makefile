# A newcomer's two commands are `make demo` and `make test`; each sets up what it needs.
PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
COLLECTIONS ?= collections
BIN := $(VENV)/bin
PIP := $(BIN)/pip install -q -c constraints.txt

.PHONY: demo test test-lowest test-collections torture exact bench-quality bench-weights bench-lexical bench-rerank bench-dense bench-hybrid bench-live bench-filters bench-long-documents bench-encode bench-gpu-encode bench-sparse-memory bench-train-memory lint heads clean

demo: $(BIN)/.demo-installed
	$(BIN)/m3search demo --index indexes/demo

# With real collections too where COLLECTIONS is a folder of BEIR folders; that takes half an hour more.
test: $(BIN)/.dev-installed
	$(if $(wildcard $(COLLECTIONS)/*/corpus.jsonl),M3SEARCH_COLLECTIONS=$(COLLECTIONS)) $(BIN)/python -m pytest

# The lowest versions that pyproject.toml allows, in an environment of their own.
test-lowest:
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/pip install -q -c constraints-lowest.txt torch
	$(VENV)-lowest/bin/pip install -q -c constraints-lowest.txt -e '.[mini,eval,parquet,train]' pytest pytest-timeout hypothesis
	$(VENV)-lowest/bin/python -m pytest

# tests/crash at length: 1,000 kills, 5,000 damaged files, 1,000 sequences of changes; hours. Goes on where it was stopped;
# PART="kills flips" runs these parts; docs/torture.md is its table.
torture: $(BIN)/.dev-installed
	$(BIN)/python tests/crash/torture.py $(PART)

# Every leg against brute force on real collections: COLLECTIONS is a folder of BEIR folders.
test-collections: $(BIN)/.dev-installed
	M3SEARCH_COLLECTIONS=$(COLLECTIONS) $(BIN)/python -m pytest tests/test_collections.py tests/test_exact.py

# The certified blend against brute force on every query of every collection.
exact: $(BIN)/.dev-installed
	$(BIN)/python benchmarks/exact.py --collections $(COLLECTIONS)

lint: $(BIN)/.dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The README's table of quality, and the lexical engine beside its peers; the latter have an environment of their own.
bench-quality: $(BIN)/.dev-installed
	$(BIN)/python benchmarks/quality.py --collections $(COLLECTIONS)

# The blend that the embedded encoder recommends: learned on training queries, reported on others; an hour, most of it of encoding.
bench-weights: $(BIN)/.dev-installed
	$(BIN)/python benchmarks/weights.py --collections $(COLLECTIONS)

# ColBERT's codecs: time, overlap with fp32, nDCG, bytes; the figures of docs/colbert.md.
bench-rerank: $(BIN)/.dev-installed
	$(BIN)/python benchmarks/rerank.py --collections $(COLLECTIONS)

bench-lexical: $(VENV)-bench/bin/.installed
	$(VENV)-bench/bin/python benchmarks/lexical.py --collections $(COLLECTIONS)

$(VENV)-bench/bin/.installed: pyproject.toml benchmarks/lexical/peers.txt
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/pip install -q -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(VENV)-bench/bin/pip install -q -c constraints.txt -e . -r benchmarks/lexical/peers.txt
	@touch $@

# Dense indexes beside hnswlib, which is compiled, and usearch: the 1,000,000 vectors take hours of building.
bench-dense: $(VENV)-bench-dense/bin/.installed
	$(VENV)-bench-dense/bin/python benchmarks/dense.py

$(VENV)-bench-dense/bin/.installed: pyproject.toml benchmarks/dense/peers.txt
	$(PYTHON) -m venv $(VENV)-bench-dense
	$(VENV)-bench-dense/bin/pip install -q -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(VENV)-bench-dense/bin/pip install -q -c constraints.txt -e . -r benchmarks/dense/peers.txt
	@touch $@

# Hybrid search beside other libraries: some hours, most of them of building at 1,000,000 documents.
bench-hybrid: $(VENV)-bench-hybrid/bin/.installed
	$(VENV)-bench-hybrid/bin/python benchmarks/hybrid.py --collections $(COLLECTIONS)

$(VENV)-bench-hybrid/bin/.installed: pyproject.toml benchmarks/hybrid/peers.txt
	$(PYTHON) -m venv $(VENV)-bench-hybrid
	$(VENV)-bench-hybrid/bin/pip install -q -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(VENV)-bench-hybrid/bin/pip install -q -c constraints.txt -e '.[mini]' -r benchmarks/hybrid/peers.txt
	@touch $@

# Filtered search beside lancedb and qdrant-edge-py: half an hour.
bench-filters: $(VENV)-bench-filters/bin/.installed
	$(VENV)-bench-filters/bin/python benchmarks/filters.py

$(VENV)-bench-filters/bin/.installed: pyproject.toml benchmarks/filters/peers.txt
	$(PYTHON) -m venv $(VENV)-bench-filters
	$(VENV)-bench-filters/bin/pip install -q -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(VENV)-bench-filters/bin/pip install -q -c constraints.txt -e . -r benchmarks/filters/peers.txt
	@touch $@

# A live index: what commits cost, searches over what changes leave, how soon a follower sees them; the figures of docs/live.md.
bench-live: $(BIN)/.dev-installed
	$(BIN)/python benchmarks/live.py

# Long documents as passages: half an hour, most of it of encoding.
bench-long-documents: $(BIN)/.dev-installed
	$(BIN)/python benchmarks/long_documents.py --collections $(COLLECTIONS)

# The encoder beside FlagEmbedding and ONNX Runtime, on models in BGE-M3's shape with random weights: an hour or more.
bench-encode: $(VENV)-bench-encode/bin/.installed
	$(VENV)-bench-encode/bin/python benchmarks/encode.py

# The same on a GPU; says so where there is none.
bench-gpu-encode: $(VENV)-bench-encode/bin/.installed
	$(VENV)-bench-encode/bin/python benchmarks/gpu_encode.py

# Three ways to score a training batch lexically; some minutes and up to 9 GB of memory.
bench-train-memory: $(BIN)/.dev-installed
	$(BIN)/python benchmarks/train_memory.py

# Four ways to make lexical weights; the figures of docs/sparse-memory.md.
bench-sparse-memory: $(BIN)/.dev-installed
	$(BIN)/python benchmarks/sparse_memory.py

$(VENV)-bench-encode/bin/.installed: pyproject.toml benchmarks/encode/peers.txt
	$(PYTHON) -m venv $(VENV)-bench-encode
	$(VENV)-bench-encode/bin/pip install -q -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(VENV)-bench-encode/bin/pip install -q -c constraints.txt -e '.[mini]' -r benchmarks/encode/peers.txt
	@touch $@

# The encoder's own two heads, fitted again on text of this machine; packages that COLLECTIONS judge are left out.
heads: $(BIN)/.demo-installed
	$(BIN)/python -m m3search.training.mini_text --output build-pairs.jsonl --without $(wildcard $(COLLECTIONS)/debian-*)
	OMP_NUM_THREADS=1 $(BIN)/python -m m3search.training.mini_heads --pairs build-pairs.jsonl
	rm build-pairs.jsonl

clean:
	rm -rf $(VENV) build dist *.egg-info

$(BIN)/.torch-installed: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "m3search needs Python 3.11 or newer; $(PYTHON) is older, or not there: name another with PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "$(PYTHON) has no venv module: on Debian and Ubuntu, apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	@touch $@

$(BIN)/.demo-installed: $(BIN)/.torch-installed pyproject.toml
	$(PIP) -e '.[mini]'
	@touch $@

$(BIN)/.dev-installed: $(BIN)/.torch-installed pyproject.toml
	$(PIP) -e '.[dev]'
	@touch $@
