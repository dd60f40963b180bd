"""From what a user has to what storage keeps: sources, documents, passages, builds.

Imports storage, analysis, records and errors. Invariant: bad input is named by file, line and id, and never
half-built.
"""
