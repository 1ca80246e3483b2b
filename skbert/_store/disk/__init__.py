"""The disk store: vectors in a folder, shared by processes and by runs. Only this room knows LMDB."""

from skbert._store.disk.store import DiskStore

__all__ = ["DiskStore"]
