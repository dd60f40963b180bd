"""For all tests: generated examples have no deadline, because the machine may be busy, and no test waits for a compiler."""

from hypothesis import settings

settings.register_profile("m3search", deadline=None)
settings.load_profile("m3search")


def pytest_sessionstart():
    from m3search import retrieval

    retrieval.warm()
