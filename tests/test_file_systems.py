"""Directories on network file systems."""

from pathlib import Path

import pytest

from llamaindex_reaktly.file_systems import network_file_system

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/export /mnt/nfs nfs4 rw 0 0
/dev/sdb1 /mnt/nfs/local xfs rw 0 0
//host/share /mnt/my\\040share cifs rw 0 0
"""


@pytest.mark.parametrize(
    ("directory", "kind"),
    [
        ("/srv/data", None),
        ("/mnt/nfs", "nfs4"),
        ("/mnt/nfs/a/b", "nfs4"),
        ("/mnt/nfs/local/a", None),
        ("/mnt/nfsx", None),
        ("/mnt/my share/a", "cifs"),
    ],
)
def test_the_innermost_mount_counts(tmp_path: Path, directory: str, kind: str | None) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    assert network_file_system(Path(directory), mounts) == kind


def test_where_mounts_are_not_listed_nothing_is_said(tmp_path: Path) -> None:
    assert network_file_system(tmp_path, tmp_path / "none") is None


def test_a_local_disk_is_none(tmp_path: Path) -> None:
    assert network_file_system(tmp_path) is None
