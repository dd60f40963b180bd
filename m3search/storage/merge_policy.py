"""MergePolicy: which segments become one.

Imports the manifest. Invariant: segments that are merged lie side by side, so that documents keep their order; and after
finitely many merges nothing is due.

Segments are in tiers by their living passages, a tier `per_tier` times as large as the one below. Where `per_tier` of a tier
follow each other, with lower ones between them at most, they become one, which is of a higher tier: a passage is rewritten
about once a tier. This is the logarithmic method of Bentley and Saxe (1980), as Lucene's LogMergePolicy has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from m3search.errors import InputError
from m3search.storage.block_postings import LARGEST_SEGMENT
from m3search.storage.codec import VALUE_LIMIT
from m3search.storage.token_vectors import LARGEST_SEGMENT as MOST_TOKENS
from m3search.storage.token_vectors import token_bytes

if TYPE_CHECKING:
    from m3search.storage.manifest import IndexConfig, SegmentInfo

_MOST_POSTINGS = 2**27
_MOST_ID_BYTES = 4 * VALUE_LIMIT


@dataclass(frozen=True, slots=True)
class MergePolicy:
    """What is merged and when.

    Attributes:
        largest: living passages that a merged segment has at most; one that was written larger stays so.
        per_tier: so many of a tier become one.
        smallest: segments of up to so many living passages are of the lowest tier.
        most_dead: share of dead documents from which a segment above the lowest tier is rewritten by itself.
        token_bytes: of a token's vector on the disk.
    """

    largest: int
    per_tier: int = 8
    smallest: int = 1024
    most_dead: float = 0.25
    token_bytes: int = 1

    @classmethod
    def of(cls, config: IndexConfig, largest: int | None = None) -> Self:
        """The policy of an index.

        Args:
            config: of the index.
            largest: None: its segment size.
        """
        size = config.segment_size if largest is None else largest
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise InputError(f"segment_size is {size!r}: give a whole number from 1")
        width = config.colbert_dim
        return cls(size, token_bytes=1 if width is None else token_bytes(width, config.colbert_codec))

    def due(self, segments: Sequence[SegmentInfo]) -> list[SegmentInfo]:
        """The segments to be merged next, side by side; none if nothing is due."""
        for info in segments:
            if info.documents == info.deleted:
                return [info]
        for tier in range(self._tier(self.largest) + 1):
            for run in self._runs(segments, tier):
                if sum(self._tier(living(info)) == tier for info in run) >= self.per_tier:
                    group = self._group(run)
                    if group:
                        return group
        for info in segments:
            if self._tier(living(info)) > 0 and info.deleted >= self.most_dead * info.documents:
                return [info]
        return []

    def all(self, segments: Sequence[SegmentInfo]) -> list[list[SegmentInfo]]:
        """Every group that has to be merged until segments are as few as `largest` allows and nothing dead is left."""
        groups: list[list[SegmentInfo]] = []
        for info in segments:
            if groups and self._fit([*groups[-1], info]):
                groups[-1].append(info)
            else:
                groups.append([info])
        return [group for group in groups if len(group) > 1 or group[0].deleted]

    def _tier(self, passages: float) -> int:
        tier, bound = 0, self.smallest
        while passages > bound:
            tier, bound = tier + 1, bound * self.per_tier
        return tier

    def _runs(self, segments: Sequence[SegmentInfo], tier: int) -> Iterator[list[SegmentInfo]]:
        """The longest runs that begin and end with a segment of this tier and have lower ones between them at most.

        A segment of more than half the largest size is whole: to merge it with small ones would rewrite it again and again.
        """
        run: list[SegmentInfo] = []
        last = 0
        for info in segments:
            own = self._tier(living(info))
            if own > tier or 2 * living(info) > self.largest:
                yield run[:last]
                run, last = [], 0
            elif own == tier or run:
                run.append(info)
                last = len(run) if own == tier else last
        yield run[:last]

    def _group(self, run: Sequence[SegmentInfo]) -> list[SegmentInfo]:
        """The first of a run that fit into one segment, if there are several."""
        for start in range(len(run) - 1):
            group = [run[start]]
            for info in run[start + 1 :]:
                if not self._fit([*group, info]):
                    break
                group.append(info)
            if len(group) > 1:
                return group
        return []

    def _fit(self, group: Sequence[SegmentInfo]) -> bool:
        """Whether they may be one segment; the bounds are those that a segment writer keeps, deleted documents counted."""

        def total(name: str) -> float:
            return sum(info.statistics.get(name, 0) for info in group)

        ids = sum(info.blobs.get("ids", 0) + info.blobs.get("bm25.terms", 0) for info in group)
        tokens = sum(info.files["colbert"].size // self.token_bytes for info in group if "colbert" in info.files)
        return (
            sum(map(living, group)) <= self.largest
            and sum(info.passages for info in group) <= LARGEST_SEGMENT // 2
            and max(total("lexical_postings"), total("bm25_postings")) <= _MOST_POSTINGS
            and ids <= _MOST_ID_BYTES
            and tokens <= MOST_TOKENS
        )


def living(info: SegmentInfo) -> float:
    """About how many living passages a segment has; at least one, as every segment costs something."""
    share = (info.documents - info.deleted) / info.documents if info.documents else 0.0
    return max(info.passages * share, 1.0)
