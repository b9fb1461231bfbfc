"""Which file system a directory is on, as far as SQLite must know."""

import re
from pathlib import Path

# Their locks, or memory shared between machines, are not what SQLite needs
# (sqlite.org/wal.html, "WAL does not work over a network filesystem").
NETWORK = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "lustre", "ncpfs", "nfs"}
    | {"nfs4", "ocfs2", "smb2", "smb3", "smbfs"}
    | {"fuse.cephfs", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs"}
)
_MOUNTS = Path("/proc/self/mounts")


def network_file_system(directory: Path, mounts: Path = _MOUNTS) -> str | None:
    """The type of the network file system that a directory is on; None if on none that we know."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    place = directory.resolve()
    found, depth = "", -1
    for line in lines:
        _device, mounted_on, kind, *_ = line.split(" ")
        # Blanks and their like are written in octal (getmntent(3)).
        mounted_at = Path(re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), mounted_on))
        if place.is_relative_to(mounted_at) and len(mounted_at.parts) >= depth:
            found, depth = kind, len(mounted_at.parts)
    return found if found in NETWORK else None
