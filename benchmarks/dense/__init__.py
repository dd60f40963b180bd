"""The dense leg beside its peers; `benchmarks/dense.py` is the way in."""
