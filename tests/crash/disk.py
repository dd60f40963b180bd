"""A disk that keeps only what was synced: what a crash of the machine may leave, which a killed process does not.

Replays the calls of a trace. A file has the bytes that stand on the disk and writes that wait; a folder has names on the disk
and changes that wait; a sync of either brings what waits to the disk, in order. A write through a descriptor that was opened
with O_DSYNC is on the disk at once. This is the worst that POSIX allows but for one thing: a system may bring waiting writes to
the disk in any order, unasked; that is a killed process's case where it brings all.
"""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

LOCKS = {"write.lock", "write.holder", "lock.mdb"}  # nothing of them is read after a crash
META_OFFSETS = {32, 4128}  # where LMDB writes its two roots, through a descriptor with O_DSYNC that was open before


@dataclass
class File:
    disk: bytearray = field(default_factory=bytearray)
    waiting: list = field(default_factory=list)
    place: int = 0

    def sync(self):
        for write in self.waiting:
            self._keep(*write)
        self.waiting.clear()

    def sync_last(self):
        """The last write alone."""
        self._keep(*self.waiting.pop())

    def _keep(self, offset, data):
        if data is None:
            _resize(self.disk, offset)
        else:
            _resize(self.disk, max(len(self.disk), offset + len(data)))
            self.disk[offset : offset + len(data)] = data


@dataclass
class Folder:
    names: dict = field(default_factory=dict)
    disk: dict = field(default_factory=dict)
    waiting: list = field(default_factory=list)

    def change(self, **names):
        """Names that are given to something, or taken away: None."""
        for name, what in names.items():
            if what is None:
                self.names.pop(name, None)
            else:
                self.names[name] = what
        self.waiting.append(names)

    def sync(self):
        for names in self.waiting:
            self.disk |= names
        self.disk = {name: what for name, what in self.disk.items() if what is not None}
        self.waiting.clear()


def _resize(data, size):
    del data[size:]
    data.extend(bytes(size - len(data)))


def _loaded(path):
    if path.is_file():
        return File(bytearray(path.read_bytes()))
    there = {entry.name: _loaded(entry) for entry in path.iterdir() if entry.name not in LOCKS}
    return Folder(dict(there), dict(there))


class Disk:
    """The disk under an index's folder.

    Args:
        start: the folder as it stood, all of it on the disk.
        path: the folder that the calls name.
        lost: the number of the sync that does nothing; None: none.
    """

    def __init__(self, start, path, lost=None):
        self.root = _loaded(start)
        self.path = str(path)
        self.lost = lost
        self.syncs = []
        self._places = {}
        self._direct = set()

    def _find(self, path):
        """(folder, name, what it names or None) in the system's view."""
        parts = PurePosixPath(path).relative_to(self.path).parts
        folder = self.root
        for part in parts[:-1]:
            folder = folder.names[part]
        return (folder, parts[-1], folder.names.get(parts[-1])) if parts else (None, "", self.root)

    def _ours(self, path):
        return path is not None and (path + "/").startswith(self.path + "/") and path.rsplit("/", 1)[1] not in LOCKS

    def _sync(self, what, label, *, last=False):
        self.syncs.append((what, label))
        if len(self.syncs) - 1 != self.lost:
            what.sync_last() if last else what.sync()

    def apply(self, call):
        """What a call does; whether the disk may have changed."""
        before = len(self.syncs)
        texts = [_text(one) for one in re.findall(r'"((?:\\x[0-9a-f]{2})*)"', call.arguments)]
        match = re.match(r"(\d+)<((?:\\x[0-9a-f]{2})*)>", call.arguments)
        descriptor, path = (int(match[1]), _text(match[2]).decode()) if match else (None, None)
        path = path.removesuffix(" (deleted)") if path else path
        getattr(self, f"_{call.name}")(call, descriptor, path, texts)
        return len(self.syncs) > before

    def _openat(self, call, _descriptor, _path, texts):
        path = texts[-1].decode()
        self._direct.discard(int(call.result.split("<")[0]))
        if not self._ours(path):
            return
        folder, name, there = self._find(path)
        if there is None and "O_CREAT" in call.arguments:
            folder.change(**{name: File()})
        if "O_DSYNC" in call.arguments:
            self._direct.add(int(call.result.split("<")[0]))

    def _put(self, descriptor, path, offset, data):
        *_, file = self._find(path)
        file.waiting.append((offset, data))
        if descriptor in self._direct or (path.endswith("data.mdb") and offset in META_OFFSETS and len(data) < 4096):
            self._sync(file, "LMDB's root", last=True)

    def _write(self, _call, descriptor, path, texts):
        if self._ours(path):
            *_, file = self._find(path)
            self._put(descriptor, path, file.place, texts[0])
            file.place += len(texts[0])

    def _pwrite64(self, call, descriptor, path, texts):
        if self._ours(path):
            self._put(descriptor, path, int(call.arguments.rsplit(", ", 1)[1]), texts[0])

    def _lseek(self, call, descriptor, _path, _texts):
        self._places[descriptor] = int(call.result)

    def _writev(self, _call, descriptor, path, texts):
        if self._ours(path):
            data = b"".join(texts)
            self._put(descriptor, path, self._places[descriptor], data)
            self._places[descriptor] += len(data)

    def _pwritev(self, call, descriptor, path, texts):
        if self._ours(path):
            self._put(descriptor, path, int(call.arguments.rsplit(", ", 1)[1]), b"".join(texts))

    def _fsync(self, _call, _descriptor, path, _texts):
        if self._ours(path):
            *_, what = self._find(path)
            self._sync(what, f"{'folder' if isinstance(what, Folder) else 'file'} {_kind(path, self.path)}")

    def _fdatasync(self, _call, _descriptor, path, _texts):
        if self._ours(path):
            self._sync(self._find(path)[2], "LMDB's pages")

    def _ftruncate(self, call, _descriptor, path, _texts):
        if self._ours(path):
            self._find(path)[2].waiting.append((int(call.arguments.rsplit(", ", 1)[1]), None))

    def _truncate(self, call, _descriptor, _path, texts):
        if self._ours(texts[0].decode()):
            self._find(texts[0].decode())[2].waiting.append((int(call.arguments.rsplit(", ", 1)[1]), None))

    def _rename(self, _call, _descriptor, _path, texts):
        old, new = texts[0].decode(), texts[1].decode()
        if self._ours(old):
            folder, name, what = self._find(old)
            assert folder is self._find(new)[0]
            folder.change(**{name: None, new.rsplit("/", 1)[1]: what})

    def _mkdir(self, _call, _descriptor, _path, texts):
        if self._ours(texts[0].decode()):
            folder, name, _ = self._find(texts[0].decode())
            folder.change(**{name: Folder()})

    def _unlink(self, _call, _descriptor, path, texts):
        name = texts[-1].decode()
        target = name if path is None else f"{path}/{name}"
        if self._ours(target):
            folder, name, _ = self._find(target)
            folder.change(**{name: None})

    _unlinkat = _rmdir = _unlink

    # -- what a crash leaves --

    def print(self):
        """The same for two disks with the same on them."""
        digest = hashlib.blake2b()

        def add(what):
            if isinstance(what, File):
                digest.update(b"f%d:" % len(what.disk) + what.disk)
            else:
                for name in sorted(what.disk):
                    digest.update(b"n" + name.encode() + b"\0")
                    add(what.disk[name])
                digest.update(b"e")

        add(self.root)
        return digest.hexdigest()

    def leave(self, folder):
        """Write what is on the disk into a new folder."""

        def put(what, path):
            if isinstance(what, File):
                path.write_bytes(what.disk)
            else:
                path.mkdir()
                for name, one in what.disk.items():
                    put(one, path / name)

        put(self.root, Path(folder))


def _text(escaped):
    return bytes.fromhex(escaped.replace("\\x", ""))


def _kind(path, root):
    """Without the names that are different every time."""
    return re.sub(r"[0-9a-f]{32}", "*", path.removeprefix(root).lstrip("/")) or "."
