"""Making of models: fitting the heads of an encoder.

Owns what runs before an encoder is shipped; nothing that searches imports it. Imports encoder, records and errors.
Invariant: the same documents give the same heads.
"""
