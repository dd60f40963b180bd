"""Models of the encoder's tests, loaded once."""

from pathlib import Path

import pytest

from m3search import Encoder

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="session")
def tiny_folder() -> Path:
    return GOLDEN / "checkpoint"


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Encoder:
    """The XLM-R checkpoint of the golden test."""
    return Encoder.load(tiny_folder, device="cpu")


@pytest.fixture(scope="session")
def mini() -> Encoder:
    return Encoder.load("mini", device="cpu")
