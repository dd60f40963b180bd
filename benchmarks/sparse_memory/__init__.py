"""The benchmark of the lexical output's memory; `sparse_memory.py` beside this folder starts it."""
