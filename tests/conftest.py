"""For all tests: generated examples have no deadline, because the machine may be busy."""

from hypothesis import settings

settings.register_profile("m3search", deadline=None)
settings.load_profile("m3search")
