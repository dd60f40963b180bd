"""The command line: a thin skin over `Index`.

Owns arguments, tables and exit codes; imports index and demo, and nothing imports it. Invariant: exit code 0 means
that what was asked for was done; results go to standard output, everything else to standard error; `--json` prints one
JSON value.
"""

from m3search.cli.app import app, main

__all__ = ["app", "main"]
