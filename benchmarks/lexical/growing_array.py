"""GrowingArray: an .npy file of one dimension whose length is known only at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


class GrowingArray:
    """Appends to a file; its header, which leaves room for any length, is written again by `close`."""

    def __init__(self, path: Path, dtype: Any) -> None:
        self._dtype = np.dtype(dtype)
        self._length = 0
        self._file = path.open("wb")
        self._header()
        self._start = self._file.tell()

    def _header(self) -> None:
        about = {"descr": self._dtype.str, "fortran_order": False, "shape": (self._length,)}
        np.lib.format.write_array_header_1_0(self._file, about)

    def append(self, values: NDArray[Any]) -> None:
        """Adds values, converted to the file's type."""
        self._file.write(np.ascontiguousarray(values, self._dtype).data)
        self._length += len(values)

    def close(self) -> None:
        """Writes the length."""
        self._file.seek(0)
        self._header()
        assert self._file.tell() == self._start, "numpy's header left no room for the length"
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
