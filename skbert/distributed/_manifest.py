"""The manifest of a target: what was asked for, what there is, and how it came about. Part of ``distributed``.

It lies beside the target, since who reads a folder of Parquet files may stumble over another file in it. Each part says
in its own metadata what it is, so a manifest that is lost or late costs time, and never a vector.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

from skbert._engine.spec import EncoderSpec
from skbert.distributed._digest import digest_of
from skbert.distributed._engine import Columns
from skbert.distributed._parts import Outcome, fsync_folder
from skbert.distributed._sources import Part, SourceFile
from skbert.exceptions import TargetError

__all__ = ["Manifest", "check_same", "make_request", "manifest_path", "now"]

FORMAT = 1


def manifest_path(target: Path) -> Path:
    """Return where the manifest of a target lies."""
    return target.with_name(target.name + ".manifest.json")


def now() -> str:
    """Return the time as the manifest writes it, in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def make_request(spec: EncoderSpec, normalize: bool, width: int, columns: Columns, before: list[Any]) -> dict[str, Any]:
    """Return all that decides what stands in the target, beside the source.

    `before` holds the steps of a pipeline before the embedder.
    """
    return {
        "spec": {**dataclasses.asdict(spec), "units": [list(unit) for unit in spec.units]},
        "normalize": normalize,
        "width": width,
        "text_column": columns.text,
        "pair_column": columns.pair,
        "output_column": columns.output,
        "output_dtype": columns.dtype,
        "steps": [type(step).__name__ for step in before],
        "steps_digest": digest_of(before) if before else None,
    }


def check_same(request: dict[str, Any], old: dict[str, Any], where: str) -> None:
    """Refuse other vectors than those that `where` was made with, and name what differs."""
    request, old = _flat(request), _flat(old)
    differing = [key for key in sorted(request.keys() | old.keys()) if request.get(key) != old.get(key)]
    if differing:
        listed = "; ".join(f"{key} {old.get(key)!r}, now {request.get(key)!r}" for key in differing)
        msg = (
            f"The target was made with other settings, by {where}: {listed}. Choose another target, or delete this one "
            "with its manifest."
        )
        raise TargetError(msg)


def _flat(request: dict[str, Any]) -> dict[str, Any]:
    spec = request.get("spec", {})
    return {**request, "spec": None, **{f"spec.{key}": value for key, value in spec.items()}}


def _check_kinds(known: dict[str, Any]) -> None:
    """Raise an error where a manifest, which anybody may edit, is not of the form that it is read in."""
    kinds = {"request": dict, "sources": list, "parts": dict, "runs": list, "rows_per_part": int}
    wrong = [key for key, kind in kinds.items() if not isinstance(known[key], kind)]
    if wrong:
        raise TypeError(wrong[0])
    wrong = [path for path, entry in known["parts"].items() if not isinstance(entry, dict)]
    if wrong or known["rows_per_part"] < 1:
        raise ValueError((wrong or ["rows_per_part"])[0])
    for entry in known["sources"]:
        SourceFile(**entry)


class Manifest:
    """What is known of a target; read at the start of a run, written while it goes on.

    Parameters
    ----------
    path : Path
        Of its file.
    known : dict
        What that file says; empty where there is none.
    """

    def __init__(self, path: Path, known: dict[str, Any]) -> None:
        self.path = path
        self.content = known
        self._dropped: dict[str, Any] = {}

    @classmethod
    def read(cls, target: Path) -> Manifest:
        """Read the manifest of a target, or begin one."""
        path = manifest_path(target)
        if not path.exists():
            return cls(path, {})
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            number = known["format"]
            if number == FORMAT:
                _check_kinds(known)
        except (ValueError, TypeError, KeyError) as error:
            msg = (
                f"{path} is no manifest of embed_parquet ({error!r}). Move it away: what is finished in the target is "
                "found without it."
            )
            raise TargetError(msg) from error
        if number != FORMAT:
            msg = f"{path} is a manifest of format {number}, and this skbert knows {FORMAT}. Use the newer skbert."
            raise TargetError(msg)
        return cls(path, known)

    def sources(self) -> list[SourceFile]:
        """Return the source's files as an earlier run found them."""
        return [SourceFile(**entry) for entry in self.content.get("sources", [])]

    @property
    def rows_per_part(self) -> int | None:
        """How the parts are cut, if there are any."""
        return self.content["rows_per_part"] if self._parts() else None

    def check_request(self, request: dict[str, Any]) -> None:
        """Refuse to go on with other vectors than those that are there."""
        old = self.content.get("request")
        if old is not None and self._parts():
            check_same(request, old, f"its manifest {self.path}")

    def trusts(self, part: Part, path: Path) -> bool:
        """Say whether a part is finished and its file as it was then, by size and time of change."""
        entry = self._parts().get(part.path)
        if entry is None or any(entry.get(key) != value for key, value in part.facts().items()):
            return False
        try:
            stat = path.stat()
        except OSError:
            return False
        return (entry.get("bytes"), entry.get("mtime_ns")) == (stat.st_size, stat.st_mtime_ns)

    def begin(
        self, source: Path, request: dict[str, Any], rows: int, files: list[SourceFile], parts: list[Part]
    ) -> None:
        """Write down what is to be done."""
        kept = self._parts()
        self.content = {
            "format": FORMAT,
            "skbert": version("skbert"),
            "source": str(source),
            "request": request,
            "rows_per_part": rows,
            "complete": False,
            "counts": {},
            "sources": [dataclasses.asdict(file) for file in files],
            "parts": {part.path: kept[part.path] for part in parts if part.path in kept},
            "runs": self.content.get("runs", []),
        }

    def add(self, part: Part, path: Path, outcome: Outcome) -> None:
        """Write down a part that is finished."""
        stat = path.stat()
        before = self._dropped.get(part.path, {})
        told: dict[str, Any] = {"n_missing": outcome.n_missing}
        if not outcome.embedded and all(before.get(key) == value for key, value in part.facts().items()):
            told = before
        elif outcome.embedded:
            told |= {
                "seconds": round(outcome.seconds, 3),
                "started": round(outcome.started, 3),
                "worker": outcome.worker,
                "warnings": [list(warning) for warning in outcome.warnings],
            }
        self._parts()[part.path] = {
            **told,
            **part.facts(),
            "rows": part.rows,
            "bytes": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
        }

    def drop(self, path: str) -> None:
        """Forget a part, which is about to be embedded, or verified."""
        if path in self._parts():
            self._dropped[path] = self._parts().pop(path)

    def write(self, run: dict[str, Any], *, complete: bool) -> None:
        """Write the file: whole, or not at all."""
        parts = self._parts().values()
        self.content["complete"] = complete
        self.content["counts"] = {
            "files": len(self.content["sources"]),
            "rows": sum(entry["rows"] for entry in self.content["sources"]),
            "parts": len(parts),
            "rows_finished": sum(entry["rows"] for entry in parts),
            "bytes": sum(entry["bytes"] for entry in parts),
        }
        whole = {**self.content, "runs": [*self.content["runs"], run]}
        staged = self.path.with_name(self.path.name + ".new")
        with staged.open("w", encoding="utf-8") as file:
            json.dump(whole, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staged, self.path)
        fsync_folder(self.path.parent)

    def _parts(self) -> dict[str, Any]:
        return self.content.setdefault("parts", {})
