"""A file that `replacing` writes is seen whole or not at all."""

import os
import stat

import pytest

from sheaflib.support.files import replacing


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path):
    file = tmp_path / "kept"
    file.write_bytes(b"old")
    with replacing(file) as stream:
        stream.write(b"new")
        stream.flush()
        assert file.read_bytes() == b"old"
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("before", [[], [b"old"]])
def test_an_error_leaves_what_was_there(tmp_path, before, error):
    for content in before:
        (tmp_path / "kept").write_bytes(content)
    with pytest.raises(error):
        with replacing(str(tmp_path / "kept")) as stream:
            stream.write(b"ne")
            raise error
    assert [file.read_bytes() for file in tmp_path.iterdir()] == before


def test_two_that_write_at_once_do_not_mix(tmp_path):
    with replacing(tmp_path / "kept") as one, replacing(tmp_path / "kept") as other:
        one.write(b"one")
        other.write(b"other")
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"one"]


def test_a_link_stays_a_link_and_permissions_stay(tmp_path):
    file, link = tmp_path / "kept", tmp_path / "link"
    file.write_bytes(b"old")
    file.chmod(0o600)
    mode = stat.S_IMODE(file.stat().st_mode)
    link.symlink_to(file)
    with replacing(link) as stream:
        stream.write(b"new")
    assert link.is_symlink() and file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == mode


def test_a_pipe_is_written_into(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with open(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        with replacing(pipe) as stream:
            stream.write(b"new")
        assert reader.read() == b"new"
    assert list(tmp_path.iterdir()) == [pipe] and pipe.is_fifo()


def test_a_folder_and_a_file_in_no_folder_are_refused(tmp_path):
    for path, said in ((tmp_path, tmp_path.name), (tmp_path / "none" / "file", "none'$")):
        with pytest.raises(OSError, match=said):
            with replacing(path):
                raise AssertionError("it was opened")
    assert list(tmp_path.iterdir()) == []
