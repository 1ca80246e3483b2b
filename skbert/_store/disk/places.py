"""Where a store may lie: local folders that can be written to. Knows the operating system and nothing of skbert."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["make_folder", "network_file_system", "reserve"]

# File systems on which LMDB's shared memory and locks do not hold between machines, and often not on one.
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs"}
_NETWORK_FUSE = {"sshfs", "s3fs", "gcsfuse", "rclone", "goofys", "davfs", "davfs2", "glusterfs", "ceph", "blobfuse"}


def network_file_system(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str | None:
    """Return the type of the network file system that `folder` lies on; None for a local one, or where unknown."""
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:  # not Linux
        return None
    real = Path(os.path.realpath(folder))
    best, kind = -1, ""
    for line in lines:
        fields = line.split(b" ")
        if len(fields) < 3:
            continue
        # Blanks and the like are written as octal escapes.
        name = re.sub(rb"\\([0-7]{3})", lambda escape: bytes([int(escape[1], 8)]), fields[1])
        point = Path(os.fsdecode(name))
        if (point == real or point in real.parents) and len(point.parts) >= best:  # the last of equals is on top
            best, kind = len(point.parts), os.fsdecode(fields[2])
    if kind in _NETWORK or (kind.startswith("fuse.") and kind.removeprefix("fuse.") in _NETWORK_FUSE):
        return kind
    return None


def make_folder(folder: Path) -> None:
    """Make `folder` for its owner only, and what is missing above it; leave one that is there as it is."""
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        if not folder.is_dir():
            raise


def reserve(path: Path, size: int) -> None:
    """Make sure that the first `size` bytes of a file have their blocks on the disk, for its owner only.

    LMDB maps its lock file and writes to it as memory. Where the disk is full,
    writing to a hole of a mapped file kills the process; asking for the blocks
    beforehand is an ordinary OSError. Where they are there, the file is not
    touched: closing it would drop the locks that this process has on it.
    """
    if size and path.exists():
        found = path.stat()
        if found.st_size >= size and getattr(found, "st_blocks", size) * 512 >= size:
            return
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        missing = size - os.fstat(file).st_size
        if size and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, size)
        elif missing > 0:
            os.lseek(file, 0, os.SEEK_END)
            os.write(file, bytes(missing))
    finally:
        os.close(file)
