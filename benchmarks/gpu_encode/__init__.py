"""The encoder's benchmark on a GPU; `gpu_encode.py` beside this folder starts it."""
