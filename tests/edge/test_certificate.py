"""Renewal as the tools do it: written over, moved in, a link turned, half of it first."""

import os
from pathlib import Path

import pytest

from relay.edge.certificate import Certificate


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("chain.pem", "key.pem"):
        (tmp_path / name).write_text("old")
    return tmp_path / "chain.pem", tmp_path / "key.pem"


def test_nothing_new(files: tuple[Path, Path]) -> None:
    certificate = Certificate(*files)
    assert not certificate.changed()
    assert not certificate.changed()


@pytest.mark.parametrize("which", [0, 1])
def test_either_file_written_over_is_told_once(files: tuple[Path, Path], which: int) -> None:
    certificate = Certificate(*files)
    before = files[which].stat()
    files[which].write_text("new")
    os.utime(files[which], ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert certificate.changed()
    assert not certificate.changed()


def test_another_file_moved_in_with_the_time_and_size_of_the_old(files: tuple[Path, Path]) -> None:
    certificate = Certificate(*files)
    times = files[0].stat()
    aside = files[0].with_name("aside")
    aside.write_text("new")
    os.utime(aside, ns=(times.st_atime_ns, times.st_mtime_ns))
    aside.replace(files[0])
    assert certificate.changed()


def test_a_link_turned(files: tuple[Path, Path], tmp_path: Path) -> None:
    link = tmp_path / "live.pem"
    link.symlink_to(files[0])
    certificate = Certificate(link, files[1])
    link.unlink()
    link.symlink_to(files[1])
    assert certificate.changed()


def test_a_missing_file_is_waited_for(files: tuple[Path, Path]) -> None:
    certificate = Certificate(*files)
    files[0].rename(files[0].with_name("aside"))
    assert not certificate.changed()
    files[0].write_text("newer")
    assert certificate.changed()
