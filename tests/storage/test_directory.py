"""Segment files on the disk: nothing has its name before all of it is there."""

import pytest

from m3search.errors import CorruptionError, StorageError
from m3search.storage.codec import checksum
from m3search.storage.directory import Directory, make_directory


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path):
    directory = Directory(tmp_path / "segments")
    assert directory.names() == []
    with directory.create("a.vectors") as file:
        file.write(b"one ")
        assert directory.names() == ["a.vectors.part"]
        file.write(memoryview(b"two"))
        assert file.publish() == (7, checksum(b"one two"))
        assert directory.names() == ["a.vectors"]
        with pytest.raises(StorageError, match="is closed"):
            file.write(b"three")
        with pytest.raises(StorageError, match="is closed"):
            file.publish()
    assert bytes(directory.map("a.vectors", 7)) == b"one two"


def test_a_file_that_was_not_published_goes(tmp_path):
    directory = Directory(tmp_path / "segments")
    with directory.create("a.vectors") as file:
        file.write(b"one")
    assert directory.names() == []


def test_mapping_says_what_is_wrong(tmp_path):
    directory = Directory(tmp_path)
    with pytest.raises(FileNotFoundError):
        directory.map("a", 3)
    (tmp_path / "a").write_bytes(b"four")
    with pytest.raises(CorruptionError, match="has 4 bytes, should have 3: restore the index or build it again"):
        directory.map("a", 3)
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match=r"cannot read .*folder"):
        directory.map("folder", 3)


def test_a_mapping_outlives_the_removal_of_its_file(tmp_path):
    directory = Directory(tmp_path)
    (tmp_path / "a").write_bytes(b"four")
    view = directory.map("a", 4)
    assert directory.remove("a")
    assert directory.names() == []
    assert bytes(view) == b"four"
    with pytest.raises(TypeError):
        view[0] = 1


def test_removing_what_is_gone_or_will_not_go_is_no_error(tmp_path):
    directory = Directory(tmp_path)
    assert directory.remove("nothing")
    (tmp_path / "folder").mkdir()
    assert not directory.remove("folder")


def test_a_folder_is_made_with_its_parents_or_the_disk_refuses_it(tmp_path):
    make_directory(tmp_path / "a" / "b")
    make_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot make the folder .*file"):
        make_directory(tmp_path / "file" / "c")
    with pytest.raises(StorageError, match=r"cannot make the folder .*file"):
        Directory(tmp_path / "file").create("x")
