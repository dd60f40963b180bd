"""Compiling: how the loops of a search are compiled.

Imports numba. Counting references to arrays costs these loops more than their work does: 200 ns a block instead of 20. So what
is compiled here only borrows the arrays that it gets: it neither makes nor keeps one.
"""

from __future__ import annotations

from typing import Any

from numba import njit

_counting: dict[str, Any] = {"_nrt": True}  # said, or it would be taken over from a caller that borrows
_borrowing: dict[str, Any] = {"_nrt": False}

compiled = njit(cache=True, nogil=True, **_counting)
"""Is called from Python, or makes arrays."""

borrowing = njit(cache=True, nogil=True, **_borrowing)
"""Is called with arrays that its caller holds, and makes none."""

inlined = njit(cache=True, nogil=True, inline="always", **_borrowing)
"""The same, for what is called in an inner loop: handing over a struct of arrays takes as long as scoring a block."""
