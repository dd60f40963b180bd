"""The demonstration: an index of text that every machine with Python has.

Imports index and what lies below it. Invariant: needs no network and no file that is not part of Python or m3search.
"""
