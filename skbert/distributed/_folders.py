"""The folders of one call: source, target, and what lies beside the target. Part of ``distributed``."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from skbert.distributed._manifest import Manifest, check_same
from skbert.distributed._parts import read_facts
from skbert.distributed._sources import Part, SourceFile, list_files
from skbert.exceptions import TargetError

__all__ = ["Folders"]

_LOCK = "lock"
_RUN = re.compile("[0-9a-f]{32}")
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
        given, final = (Path(path).expanduser().absolute() for path in (source, target))
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
    def locked(self) -> Iterator[Path]:
        """Make the folders and keep other runs out of them; yield one for what this run has not finished.

        In the end it is removed, and so are those of runs that were killed. A
        worker that outlives such a run has then nothing left to rename.
        """
        is_new = not self.target.exists()
        self.target.mkdir(parents=True, exist_ok=True)
        try:
            self.unfinished.mkdir(exist_ok=True)
            self._check_unfinished()
            lock = filelock.FileLock(self.unfinished / _LOCK)
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                msg = f"Another run of embed_parquet is writing into {self.target}. Wait for its end, or stop it."
                raise TargetError(msg) from None
            try:
                self._clear()  # of a run that was killed
                own = self.unfinished / uuid.uuid4().hex
                own.mkdir()
                yield own
            finally:
                self._clear()
                (self.unfinished / _LOCK).unlink(missing_ok=True)
                lock.release()
                with contextlib.suppress(OSError):  # someone put something there meanwhile
                    self.unfinished.rmdir()
        finally:
            if is_new:
                with contextlib.suppress(OSError):  # not empty
                    self.target.rmdir()

    def _check_unfinished(self) -> None:
        others = sorted(entry.name for entry in os.scandir(self.unfinished) if not _is_own(entry))
        if others:
            msg = (
                f"{self.unfinished} is where embed_parquet keeps what is not finished, and it holds something else: "
                f"{', '.join(others[:_SHOWN])}{', …' if len(others) > _SHOWN else ''}. Move it away, or choose another "
                "target."
            )
            raise TargetError(msg)
        if self.target.stat().st_dev != self.unfinished.stat().st_dev:
            with contextlib.suppress(OSError):
                self.unfinished.rmdir()
            msg = (
                f"{self.unfinished} is on another file system than {self.target}, so that finished parts could not be "
                "moved there whole. Make the target a folder inside the mounted one."
            )
            raise TargetError(msg)

    def _clear(self) -> None:
        for entry in os.scandir(self.unfinished):
            if _is_own(entry) and entry.is_dir():
                shutil.rmtree(entry.path, ignore_errors=True)

    def rows_per_part(self) -> int | None:
        """Return how the parts in the target were cut, by the first that says so; None where there is none."""
        for name in list_files(self.target):
            with contextlib.suppress(OSError, ValueError):  # damaged, or of others: told by `superseded`
                facts = read_facts(self.target / name) or {}
                if isinstance(facts.get("rows_per_part"), int):
                    return facts["rows_per_part"]
        return None

    def superseded(
        self, files: list[SourceFile], parts: list[Part], request: dict[str, Any], manifest: Manifest
    ) -> list[str]:
        """Return the files of the target that are parts of what a source file once was.

        Files that the manifest trusts are not looked into.

        Raises
        ------
        TargetError
            The target has files of others, or parts with other vectors, of
            other source files, or cut otherwise.
        """
        wanted = {part.path: part for part in parts}
        digests = {file.path: file.sha256 for file in files}
        old, foreign, orphans, otherwise = [], [], [], []
        for name in list_files(self.target):
            path = self.target / name
            if name in wanted and manifest.trusts(wanted[name], path):
                continue
            try:
                facts = read_facts(path)
            except (OSError, ValueError):  # damaged
                if name not in wanted:
                    foreign.append(name)
                continue
            if facts is None:
                foreign.append(name)
                continue
            check_same(request, facts.get("request", {}), f"the part {path}")
            if name in wanted:
                continue
            if facts.get("source") not in digests:
                orphans.append(name)
            elif facts.get("source_sha256") == digests[facts["source"]]:
                otherwise.append(name)
            else:
                old.append(name)
        for names, what in (
            (foreign, "that embed_parquet did not write. Choose another target, or move them away"),
            (orphans, "of source files that are no longer there. Put these back, or delete the parts"),
            (otherwise, "that are cut otherwise, with another rows_per_part. Delete them"),
        ):
            if names:
                listed = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
                msg = f"The target {self.target} holds {len(names)} file(s) {what}: {listed}."
                raise TargetError(msg)
        return old


def _is_own(entry: os.DirEntry[str]) -> bool:
    """Say whether embed_parquet made this: its lock, or the folder of a run."""
    return entry.name == _LOCK or (_RUN.fullmatch(entry.name) is not None and entry.is_dir(follow_symlinks=False))
