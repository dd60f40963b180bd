"""How a text becomes what the legs work on: terms for BM25, passages for everything.

Imports records and errors only. Invariant: analysis depends on nothing but the text and the settings that an index
stores, so that a query is cut exactly as the documents were.
"""
