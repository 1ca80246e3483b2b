"""The folders of one call: source, target, and what lies beside the target. Part of ``distributed``."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import filelock

from skbert.distributed._parts import read_facts
from skbert.distributed._sources import Part, SourceFile, list_files
from skbert.exceptions import TargetError

__all__ = ["Folders"]

_SHOWN = 3  # files that an error lists before it says "…"


@dataclasses.dataclass(frozen=True)
class Folders:
    """Where things are.

    `base` is what the paths of source files are relative to; `unfinished` holds
    what is being written, on the same file system as the target, so that a
    rename moves it there whole.
    """

    source: Path
    base: Path
    target: Path
    unfinished: Path

    @classmethod
    def of(cls, source: str | os.PathLike[str], target: str | os.PathLike[str]) -> Folders:
        """Return the folders of a source and a target, which have nothing of each other."""
        given = Path(source).absolute()
        final = Path(target).absolute()
        base = given.parent if given.is_file() else given
        inner, outer = final.resolve(), given.resolve()
        if inner == outer or outer in inner.parents or inner in outer.parents:
            msg = (
                f"The 'target' parameter of embed_parquet must be a folder outside the source, {str(source)!r}, and "
                f"not one around it. Got {str(target)!r} instead: its files would be taken for texts next time."
            )
            raise TargetError(msg)
        if final.exists() and not final.is_dir():
            msg = f"The 'target' parameter of embed_parquet must be a folder, new or its own. {final} is a file."
            raise TargetError(msg)
        return cls(given, base, final, final.with_name(final.name + ".unfinished"))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folders and keep other runs out of them; in the end nothing unfinished is left."""
        is_new = not self.target.exists()
        self.target.mkdir(parents=True, exist_ok=True)
        self.unfinished.mkdir(parents=True, exist_ok=True)
        if self.target.stat().st_dev != self.unfinished.stat().st_dev:
            msg = (
                f"{self.unfinished} is on another file system than {self.target}, so that finished parts could not be "
                "moved there whole. Make the target a folder inside the mounted one."
            )
            raise TargetError(msg)
        lock = filelock.FileLock(self.unfinished / "lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            msg = f"Another run of embed_parquet is writing into {self.target}. Wait for its end, or stop it."
            raise TargetError(msg) from None
        try:
            self._clear()  # of a run that was killed
            yield
        finally:
            self._clear()
            shutil.rmtree(self.unfinished, ignore_errors=True)
            lock.release()
            if is_new:
                with contextlib.suppress(OSError):  # not empty
                    self.target.rmdir()

    def _clear(self) -> None:
        for path in self.unfinished.glob("*.parquet"):
            path.unlink(missing_ok=True)

    def superseded(self, files: list[SourceFile], parts: list[Part]) -> list[str]:
        """Return the files of the target that are parts of what a source file once was.

        Raises
        ------
        TargetError
            The target has other files that are not among `parts`.
        """
        if not self.target.is_dir():
            return []
        wanted = {part.path for part in parts}
        digests = {file.path: file.sha256 for file in files}
        old, foreign, orphans, otherwise = [], [], [], []
        for name in list_files(self.target):
            if name in wanted:
                continue
            try:
                facts = read_facts(self.target / name)
            except (OSError, ValueError):
                facts = None
            if facts is None:
                foreign.append(name)
            elif facts.get("source") not in digests:
                orphans.append(name)
            elif facts.get("source_sha256") == digests[facts["source"]]:
                otherwise.append(name)
            else:
                old.append(name)
        for names, what in (
            (foreign, "that embed_parquet did not write. Choose another target, or move them away"),
            (orphans, "of source files that are no longer there. Put these back, or delete the parts"),
            (otherwise, "of other rows than these. Set rows_per_part as it was, or delete the parts"),
        ):
            if names:
                listed = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
                msg = f"The target {self.target} holds {len(names)} file(s) {what}: {listed}."
                raise TargetError(msg)
        return old
