"""Everything that touches the disk: segments, the store, snapshots, and the one writer.

Imports records, filtering and errors only; retrieval and what stands above it read through `Snapshot`. Invariant: the
manifest record in the store is the only commit point.
"""

from m3search.storage.bitmaps import rows_of
from m3search.storage.block_postings import BLOCK, GROUP, LARGEST_IMPACT, RANKS, BlockArrays, block_arrays
from m3search.storage.changes import Changes
from m3search.storage.check import LEVELS, Finding, check_index
from m3search.storage.compaction import Compacted, compact, keys_of
from m3search.storage.dense_index import DenseIndex
from m3search.storage.dense_recall import proposed, recall_of
from m3search.storage.dense_settings import DenseSettings
from m3search.storage.environment import Environment
from m3search.storage.index_copy import copy_index
from m3search.storage.index_writer import IndexWriter
from m3search.storage.manifest import FORMAT_VERSION, IndexConfig, Manifest, SegmentInfo
from m3search.storage.merge_policy import MergePolicy
from m3search.storage.merging import Merged, merge_all, merge_due
from m3search.storage.segment import Segment
from m3search.storage.segment_writer import PassageBatch, SealedSegment, SegmentWriter, id_hash
from m3search.storage.selection import facet_counts, select, selected_documents
from m3search.storage.snapshot import Snapshot
from m3search.storage.stores import holds_index, index_folder, is_current, open_latest
from m3search.storage.summary import summary

__all__ = [
    "BLOCK",
    "FORMAT_VERSION",
    "GROUP",
    "LARGEST_IMPACT",
    "LEVELS",
    "RANKS",
    "BlockArrays",
    "Changes",
    "Compacted",
    "DenseIndex",
    "DenseSettings",
    "Environment",
    "Finding",
    "IndexConfig",
    "IndexWriter",
    "Manifest",
    "MergePolicy",
    "Merged",
    "PassageBatch",
    "SealedSegment",
    "Segment",
    "SegmentInfo",
    "SegmentWriter",
    "Snapshot",
    "block_arrays",
    "check_index",
    "compact",
    "copy_index",
    "facet_counts",
    "holds_index",
    "id_hash",
    "index_folder",
    "is_current",
    "keys_of",
    "merge_all",
    "merge_due",
    "open_latest",
    "proposed",
    "recall_of",
    "rows_of",
    "select",
    "selected_documents",
    "summary",
]
