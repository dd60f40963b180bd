"""Check: reads an index as doubtfully as it is asked to, and says what is wrong.

Imports the rest of storage. Level 1 is what every opening looks at: manifest, sizes, headers, offsets. Level 2 compares every
checksum, counts, and sees whether the store leads to pages of its last commit only. Level 3 decodes everything: ids are unique
and found, vectors finite and no longer than is said, terms and passages in order, and the
inverted stores are those of the forward stores. Invariant: nothing is changed, and what is found does not end the check where
more can be looked at.

Damage can end a process before it is found: a store whose pages are gone is a SIGBUS. So `check_index` reads in a process of
its own, which says where it stands; `findings` is what that process runs.
"""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from m3search.errors import CorruptionError, IndexNotFoundError, M3SearchError, StorageError
from m3search.storage.block_postings import BLOCK_ARRAYS
from m3search.storage.column_writer import ColumnWriter
from m3search.storage.columns import SegmentColumns
from m3search.storage.directory import Directory
from m3search.storage.environment import DATA_FILE
from m3search.storage.keys import BUILDING_KEY, MANIFEST_KEY
from m3search.storage.manifest import Manifest
from m3search.storage.postings import inverted_anew
from m3search.storage.segment import Segment
from m3search.storage.snapshot import Snapshot
from m3search.storage.store_tree import roots_are_sound, tree_is_sound
from m3search.storage.stores import holds_index, index_folder, is_current, open_store, store_of
from m3search.storage.write_lock import HOLDER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from m3search.storage.environment import Environment
    from m3search.storage.manifest import IndexConfig, SegmentInfo
    from m3search.storage.postings import Field

LEVELS = (1, 2, 3)
_MOST_FINDINGS = 1000
_CHUNK_ROWS = 4096
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong.

    Attributes:
        where: the part of the index.
        what: what is wrong with it.
    """

    where: str
    what: str


def check_index(path: Path, level: int = 2) -> list[Finding]:
    """Everything that is wrong with an index, found in a process of its own; nothing if it is sound.

    Args:
        path: its folder.
        level: 1 to 3; see the module.

    Raises:
        InputError: no folder can have this name.
        StorageError: it cannot be checked: there is none, it cannot be read, or it is of a newer version.
    """
    path = index_folder(path)
    program = "import sys; from m3search.storage.check import main; main(*sys.argv[1:])"
    command = [sys.executable, "-c", program, str(path), str(level)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603 - our own
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.endswith("}")]
    found = [Finding(**line) for line in lines if "what" in line]
    failed = [line["failed"] for line in lines if "failed" in line]
    if failed:
        raise StorageError(failed[0])
    if done.returncode < 0:
        at = [line["at"] for line in lines if "at" in line]
        name = signal.Signals(-done.returncode).name
        found.append(Finding(at[-1] if at else "the store", f"reading it ended the process with {name}"))
    elif done.returncode or not any("done" in line for line in lines):
        raise StorageError(f"{path} could not be checked: {done.stderr.strip()[-500:] or 'the process ended early'}")
    return found


def findings(path: Path, level: int, at: Callable[[str], None] = lambda _: None) -> Iterator[Finding]:
    """Everything that is wrong, as it is found; `at` is called with what is about to be read.

    Raises:
        StorageError: it cannot be checked.
    """
    if not holds_index(path):
        raise IndexNotFoundError(f"{path} holds no index: build one there, or name another path")
    found: list[Finding] = []
    for _ in range(_ATTEMPTS):
        at("the store")
        try:
            environment = open_store(path)
        except CorruptionError as error:
            found = [Finding("the store", str(error))]
            break
        try:
            with environment.read() as transaction:
                found = list(_of_generation(environment, transaction, path, level, at))
                if not found and level > 1 and not tree_is_sound(environment.path / DATA_FILE, int(transaction.id())):
                    found = [Finding("the store", "its tree leads to pages of older commits, which may be served")]
                still = environment.last_transaction == int(transaction.id()) and is_current(environment)
        except CorruptionError as error:
            found, still = [Finding("the store", str(error))], is_current(environment)
        finally:
            environment.close()
        if still or not found:
            break  # else a writer may have removed what was looked for
    if not found and not roots_are_sound(store_of(path) / DATA_FILE, still=not (path / HOLDER).exists()):
        found = [Finding("the store", "its last two commits are not where they should be: an older one may be served")]
    yield from found


def _of_generation(
    environment: Environment,
    transaction: Any,  # noqa: ANN401 - lmdb is untyped
    path: Path,
    level: int,
    at: Callable[[str], None],
) -> Iterator[Finding]:
    def get(key: bytes) -> memoryview | None:
        return environment.get(transaction, key)

    at("the manifest")
    blob = get(MANIFEST_KEY)
    if blob is None:
        if get(BUILDING_KEY) is None and transaction.stat()["entries"]:
            yield Finding("the manifest", "is gone, or a build that began here was never finished")
            return
        raise StorageError(f"{path} holds no index that was finished: build one there")
    try:
        manifest = Manifest.unpack(blob, MANIFEST_KEY, f"the manifest of {path}")
    except CorruptionError as error:
        yield Finding("the manifest", str(error))
        return
    directory = Directory(path / "segments")
    sound = True
    for info in manifest.segments:
        where = f"segment {info.uuid}"
        at(where)
        try:
            segment = Segment(info, manifest.config, 0, directory, get, verify=level > 1)
        except FileNotFoundError as error:
            sound = False
            yield Finding(where, f"a file is gone: {error.filename}")
            continue
        except CorruptionError as error:
            sound = False
            yield Finding(where, str(error))
            continue
        if level > 2:
            for what in _of_segment(segment, manifest.config):
                yield Finding(where, what)
    if sound and level > 1:
        yield from _of_documents(environment, path, manifest, at, decode=level > 2)


def _of_documents(
    environment: Environment, path: Path, manifest: Manifest, at: Callable[[str], None], *, decode: bool
) -> Iterator[Finding]:
    """Records, and with `decode` whether every living id leads to its document and to no other."""
    with Snapshot.latest(environment, path) as snapshot:
        if (
            snapshot.manifest.generation != manifest.generation
        ):  # a writer was here; what it wrote is not what is checked
            return
        for segment in snapshot.segments:
            where = f"the documents of segment {segment.info.uuid}"
            at(where)
            columns = ColumnWriter()
            for number in range(segment.info.documents):
                try:
                    columns.append(snapshot.document(segment, number).metadata)
                except (CorruptionError, UnicodeDecodeError) as error:
                    yield Finding(where, str(error))
            if decode:
                yield from (Finding(where, what) for what in _of_ids(snapshot, segment))
                yield from (Finding(where, what) for what in _of_columns(columns, snapshot, segment))


def _of_ids(snapshot: Snapshot, segment: Segment) -> Iterator[str]:
    numbers = np.arange(segment.info.documents) if segment.live is None else np.flatnonzero(segment.live)
    for start in range(0, len(numbers), _CHUNK_ROWS):
        chunk = numbers[start : start + _CHUNK_ROWS]
        names = segment.ids_of(chunk)
        for number, name, found in zip(chunk.tolist(), names, snapshot.find_all(names), strict=True):
            if found is None or (found[0].info.uuid, found[1]) != (segment.info.uuid, number):
                yield f"the id {name!r} of document {number} is not found, or is there twice"


def _of_columns(anew: ColumnWriter, snapshot: Snapshot, segment: Segment) -> Iterator[str]:
    """Whether the columns of the metadata are those of the documents."""
    if segment.columns is None:
        return
    stored, made = segment.columns, anew.finish()
    if dict(stored.types) != dict(made.types) or stored.complete != made.complete:
        yield "the fields of the metadata are not those that the manifest names"
        return
    fresh = SegmentColumns(made, segment.info.documents, "")
    for name in fresh:
        column = snapshot.column(segment, name)
        if column is None or not column.same_as(fresh[name]):
            yield f"the column of the metadata {name!r} is not that of the documents"


def _of_segment(segment: Segment, config: IndexConfig) -> Iterator[str]:
    """What only decoding shows."""
    if segment.vectors is not None:
        yield from _of_vectors(segment)
    tokens = segment.tokens
    if tokens is not None and tokens.scales is not None:
        scales = np.asarray(tokens.scales)
        if not bool(np.isfinite(scales).all()) or bool((scales < 0).any()):
            yield "token vectors have scales that are not finite or below 0"
    if bool((segment.spans[:, 0] > segment.spans[:, 1]).any()):
        yield "a passage ends before it begins"
    for name, field in segment.fields.items():
        for what in _of_field(field, segment.info, name, config):
            yield f"field {name!r}: {what}"


def _of_vectors(segment: Segment) -> Iterator[str]:
    assert segment.vectors is not None
    longest = segment.info.statistics["dense_norm"]
    for start in range(0, len(segment.vectors), _CHUNK_ROWS):
        rows = segment.vectors[start : start + _CHUNK_ROWS].astype(np.float64)
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        if not bool(np.isfinite(rows).all()):
            yield f"vectors from passage {start} on are not finite"
        elif bool((norms > longest * (1 + 1e-9)).any()):
            yield f"vectors from passage {start} on are longer than the manifest says"


def _of_field(field: Field, info: SegmentInfo, name: str, config: IndexConfig) -> Iterator[str]:
    terms = np.asarray(field.row_terms)
    owners = np.repeat(np.arange(info.passages), np.diff(field.row_ends))
    if len(terms) and int(terms.max()) >= field.size:
        yield "a passage has a term that is not there"
        return
    if bool(((terms[1:] <= terms[:-1]) & (owners[1:] == owners[:-1])).any()):
        yield "the terms of a passage are not ascending"
    values = np.asarray(field.row_values, np.float64)
    if not bool(np.isfinite(values).all()) or bool((values < 0).any()):
        yield "weights are not finite or below 0"
        return
    words = [field.term(number) for number in range(field.size)]
    keys = [word.encode() if isinstance(word, str) else word for word in words]
    if any(one >= other for one, other in itertools.pairwise(keys)):  # type: ignore[operator] # all of one type
        yield "terms are not ascending"
    if all(f"{name}.{array}" in info.blobs for array in BLOCK_ARRAYS):
        arrays: dict[str, NDArray[Any]] = {
            "row_ends": field.row_ends,
            "row_terms": field.row_terms,
            "row_values": field.row_values,
        }
        arrays["terms"] = field.terms
        if field.term_ends is not None and field.lengths is not None:
            arrays |= {"term_ends": field.term_ends, "lengths": field.lengths}
        bm25 = config.bm25 or {"k1": 0.0, "b": 0.0}
        anew = inverted_anew(arrays, bm25["k1"], bm25["b"])
        for array in BLOCK_ARRAYS:
            if not np.array_equal(anew[array], getattr(field.blocks.arrays, array)):
                yield f"the inverted store is not that of the forward store ({array})"


def _say(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main(path: str, level: str) -> None:
    """Prints what is wrong with an index, a line of JSON each, and where it stands; for `check_index`."""
    try:
        for number, finding in enumerate(findings(Path(path), int(level), lambda place: _say({"at": place}))):
            _say(asdict(finding))
            if number + 1 >= _MOST_FINDINGS:
                break
        _say({"done": True})
    except M3SearchError as error:
        _say({"failed": str(error)})
