"""Which segments are merged, and how often a passage is rewritten for it."""

import random

import pytest

from m3search.errors import InputError
from m3search.storage import IndexConfig, MergePolicy, SegmentInfo


def segment(passages, deleted=0, name=""):
    return SegmentInfo(name or f"{passages}", passages, passages, deleted)


def settle(policy, segments):
    """Merge what is due until nothing is: the segments then, and the passages that were rewritten."""
    rewritten = 0
    while group := policy.due(segments):
        place = segments.index(group[0])
        assert segments[place : place + len(group)] == group  # side by side
        alive = sum(info.documents - info.deleted for info in group)
        rewritten += alive
        assert len(group) > 1 or group[0].deleted
        segments[place : place + len(group)] = [segment(alive, name=f"m{random.random()}")] if alive else []
    return segments, rewritten


@pytest.mark.parametrize("step", [1, 10, 3000])
def test_segments_stay_few_and_a_passage_is_rewritten_about_once_a_tier(step):
    policy = MergePolicy(largest=100_000)
    segments, rewritten, added, most = [], 0, 0, 0
    for number in range(4000):
        segments.append(segment(step, name=f"s{number}"))
        added += step
        segments, work = settle(policy, segments)
        rewritten += work
        most = max(most, len(segments) - added // 50_000)
        assert sum(info.documents for info in segments) == added
    assert most <= 8 * 4
    # within the lowest tier all of it may be rewritten each time eight came: 1,024 / (2 * 7 * step) times
    assert rewritten / added <= 4 + 1024 / (7 * step)


def test_with_deletions_too_it_settles():
    rng = random.Random(3)
    policy = MergePolicy(largest=5_000, smallest=50)
    segments = []
    for number in range(3000):
        segments.append(segment(rng.choice([1, 5, 60, 400]), name=f"s{number}"))
        for place in range(len(segments)):
            info = segments[place]
            if rng.random() < 0.2 and info.deleted < info.documents:
                dead = rng.randint(info.deleted, info.documents)
                segments[place] = SegmentInfo(info.uuid, info.documents, info.passages, dead)
        segments, _ = settle(policy, segments)
        assert all(info.deleted < info.documents / 4 for info in segments if info.documents - info.deleted > 50)
        assert all(info.documents - info.deleted <= 5_000 for info in segments)


def test_a_dead_segment_goes_and_a_large_one_with_many_dead_is_rewritten():
    policy = MergePolicy(largest=100_000)
    assert policy.due([segment(5, 5), segment(7)]) == [segment(5, 5)]
    assert policy.due([segment(50_000, 12_499)]) == []
    assert policy.due([segment(50_000, 12_500)]) == [segment(50_000, 12_500)]
    assert policy.due([segment(1000, 999)]) == []


def test_a_segment_that_is_large_enough_is_left_alone():
    policy = MergePolicy(largest=100_000)
    whole = [segment(60_000, name=f"w{number}") for number in range(20)]
    assert policy.due(whole) == []
    assert policy.due([*whole, *(segment(1, name=f"s{number}") for number in range(7))]) == []
    small = [segment(1, name=f"s{number}") for number in range(8)]
    assert policy.due([*whole, *small]) == small


def test_everything_is_merged_into_as_few_as_the_size_allows():
    policy = MergePolicy(largest=100)
    segments = [segment(size, name=f"{place}") for place, size in enumerate([60, 30, 20, 90, 5, 5, 200, 3])]
    groups = [[info.documents for info in group] for group in policy.all(segments)]
    assert groups == [[60, 30], [90, 5, 5]]  # 20 fits neither, 200 was written larger
    assert policy.all([segment(60)]) == []
    assert policy.all([segment(60, 1)]) == [[segment(60, 1)]]


def test_what_a_segment_can_hold_bounds_a_merge():
    policy = MergePolicy(largest=10**6)
    large = [SegmentInfo(f"{n}", 10, 10, statistics={"lexical_postings": 2**26 + 1}) for n in range(2)]
    assert policy.all(large) == []
    ids = [SegmentInfo(f"{n}", 10, 10, blobs={"ids": 2**27 + 1}) for n in range(2)]
    assert policy.all(ids) == []
    with pytest.raises(InputError, match="segment_size is 0: give a whole number from 1"):
        MergePolicy.of(IndexConfig(), 0)
