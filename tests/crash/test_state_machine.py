"""Any sequence of changes against a dict and brute force: what is asked of an index is what the dict says."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from live_model import build, check, given
from running import CHUNK, LONG, note

from m3search import Index
from m3search.errors import DocumentError, InputError

EXAMPLES, STEPS = (50, 200) if LONG else (50, 30)
NAMES = st.lists(st.sampled_from([f"d{number:02}" for number in range(24)]), min_size=1, max_size=8, unique=True)


class LiveIndex(RuleBasedStateMachine):
    """An index in mode "w", a reader that is refreshed now and then, and the dicts of what both must hold."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.version = 0
        self.model = {}

    @initialize(
        names=st.lists(st.sampled_from(["d00", "d05", "d10", "x", "y"]), unique=True), size=st.sampled_from([3, 40])
    )
    def begin(self, names, size):
        self.model = dict.fromkeys(names, 0)
        build(self.folder / "i", self.model.items(), segment_size=size)
        if not names:  # an index without documents does not know their vectors
            build(self.folder / "i", [("x", 0)], segment_size=size, overwrite=True)
            self.model = {"x": 0}
        self.index = Index.open(self.folder / "i", mode="w")
        self.reader = Index.open(self.folder / "i")
        self.read = dict(self.model)
        self.follower = Index.open(self.folder / "i", refresh="auto")

    def _new(self, names):
        self.version += 1
        return dict.fromkeys(names, self.version)

    @rule(names=NAMES)
    def add(self, names):
        new = self._new(names)
        if self.model.keys() & new.keys():
            with pytest.raises(DocumentError, match="is in the index already"):
                self.index.add(*given(new.items()))
            report = self.index.add(*given(new.items()), on_error="skip")
            assert report.skipped.count == len(self.model.keys() & new.keys())
            new = {name: version for name, version in new.items() if name not in self.model}
        else:
            assert self.index.add(*given(new.items())).documents == len(new)
        self.model |= new

    @rule(names=NAMES)
    def upsert(self, names):
        new = self._new(names)
        report = self.index.upsert(*given(new.items()))
        assert (report.documents, report.replaced) == (len(new), len(self.model.keys() & new.keys()))
        self.model |= new

    @rule(names=NAMES)
    def delete(self, names):
        there = [name for name in names if name in self.model]
        if len(there) < len(names):
            with pytest.raises(InputError, match="there is no document"):
                self.index.delete(names)
        assert self.index.delete(there) == len(there)
        for name in there:
            del self.model[name]

    @rule(first=NAMES, second=NAMES, third=NAMES, fails=st.booleans())
    def many(self, first, second, third, fails):
        after = dict(self.model)
        try:
            with self.index.writer() as writer:
                new = self._new(first)
                writer.upsert(*given(new.items()))
                after |= new
                gone = [name for name in second if name in after]
                assert writer.delete(gone) == len(gone)
                for name in gone:
                    del after[name]
                fresh = {name: version for name, version in self._new(third).items() if name not in after}
                writer.add(*given(fresh.items()))
                after |= fresh
                if fails:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            return
        self.model = after

    @rule(size=st.sampled_from([None, 1, 4, 100]))
    def merge(self, size):
        self.index.merge(size)
        assert self.index.info()["deleted"] == 0

    @rule()
    def compact(self):
        self.index.compact()

    @rule()
    def refresh(self):
        self.reader.refresh()
        self.read = dict(self.model)

    @rule()
    def reopen(self):
        self.index.close()
        self.index = Index.open(self.folder / "i", mode="w", verify=True)

    @invariant()
    def holds(self):
        if self.version or self.model:
            check(self.index, self.model)
            check(self.reader, self.read, blends=[{"dense": 1, "bm25": 1}])
            check(self.follower, self.model, blends=[{"lexical": 1}])

    def teardown(self):
        if self.model or self.version:
            for index in (self.index, self.reader, self.follower):
                index.close()
        shutil.rmtree(self.folder)


@seed(CHUNK)
@settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
class AnySequence(LiveIndex):
    """With as many and as long ones as are wanted; another seed for every chunk."""


@pytest.mark.timeout(7200 if LONG else 600)
def test_any_sequence_of_changes():
    run_state_machine_as_test(AnySequence)
    note(sequences=EXAMPLES, wrong=0)
