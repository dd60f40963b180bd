"""The encoder's benchmark; `encode.py` beside this folder starts it."""
