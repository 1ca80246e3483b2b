"""What a run of embed_parquet knows of itself: its manifest, its bar, its warnings. Part of ``distributed``."""

from __future__ import annotations

import time
from typing import Any

from tqdm.auto import tqdm

from skbert import exceptions
from skbert._warnings import warn
from skbert.distributed._folders import Folders
from skbert.distributed._manifest import Manifest, now
from skbert.distributed._parts import Outcome
from skbert.distributed._sources import Part
from skbert.exceptions import SkbertWarning, TargetError

__all__ = ["Run"]

# Seconds between two versions of the manifest, and what share of the time writing it may take, with many parts. A part
# that it misses is verified instead of trusted.
_WRITE_EVERY, _SHARE = 5, 0.02
_SHOWN = 3  # files, or warnings of one kind, that are named


class Run:
    """One call's way through the parts.

    `ahead` are those that are not trusted to be there. Within a ``with``, the
    manifest and the bar are kept up to date.
    """

    def __init__(
        self, manifest: Manifest, folders: Folders, parts: list[Part], old: list[str], *, progress: bool
    ) -> None:
        self._manifest, self._folders, self._old = manifest, folders, old
        self._parts = {part.path: part for part in parts}
        self.ahead = [part for part in parts if not manifest.trusts(part, folders.target / part.path)]
        kept = len(parts) - len(self.ahead)
        rows = sum(part.rows for part in parts)
        rows_kept = rows - sum(part.rows for part in self.ahead)
        self._changed = sorted({part.source for part in self.ahead if self._is_stale(part)})
        for part in self.ahead:
            manifest.drop(part.path)
        self._record: dict[str, Any] = {
            "started": now(),
            "ended": None,
            "seconds": 0.0,
            "error": None,
            "embedded_parts": 0,
            "embedded_rows": 0,
            "kept_parts": kept,
            "kept_rows": rows_kept,
            "workers": {},
        }
        self._bar = tqdm(total=rows, initial=rows_kept, unit=" texts", desc="embed_parquet", disable=not progress)
        self._began = self._written = time.monotonic()
        self._pause = float(_WRITE_EVERY)
        self._warnings: dict[str, list[str]] = {}

    def _is_stale(self, part: Part) -> bool:
        entry = self._manifest.content["parts"].get(part.path)
        return entry is not None and entry.get("source_sha256") != part.sha256

    def __enter__(self) -> None:
        self._manifest.write(self._record, complete=False)
        if self._changed:
            msg = (
                f"{len(self._changed)} source file(s) changed since they were embedded, and are embedded again: "
                f"{', '.join(self._changed[:_SHOWN])}{', …' if len(self._changed) > _SHOWN else ''}."
            )
            warn(msg, SkbertWarning)

    def take(self, outcome: Outcome) -> None:
        """Write down what a worker tells."""
        part = self._parts[outcome.path]
        self._manifest.add(part, self._folders.target / part.path, outcome)
        kind = "embedded" if outcome.embedded else "kept"
        self._record[f"{kind}_parts"] += 1
        self._record[f"{kind}_rows"] += part.rows
        worker = self._record["workers"].setdefault(outcome.worker, {"parts": 0, "rows": 0, "seconds": 0.0})
        worker["parts"] += 1
        worker["rows"] += part.rows
        worker["seconds"] = round(worker["seconds"] + outcome.seconds, 3)
        worker["peak_bytes"] = outcome.peak_bytes
        for category, count, first in outcome.warnings:
            times = f" ({count} times)" if count > 1 else ""
            self._warnings.setdefault(category, []).append(f"{part.path}{times}: {first}")
        self._bar.update(part.rows)
        if time.monotonic() - self._written > self._pause:
            self._write(complete=False)

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        self._bar.close()
        self._record["ended"] = now()
        left = self._parts.keys() - self._manifest.content["parts"].keys()
        if error is None and left:
            error = TargetError(f"{len(left)} part(s) did not come back from Ray, {min(left)} among them. Start again.")
        if error is None:
            for name in self._old:  # what a source file once was; its new parts are there
                (self._folders.target / name).unlink(missing_ok=True)
        else:
            self._record["error"] = f"{type(error).__name__}: {error}"
        self._write(complete=error is None)
        self._manifest.content["runs"].append(self._record)
        if error is not None and kind is None:
            raise error

    def _write(self, *, complete: bool) -> None:
        start = time.monotonic()
        self._record["seconds"] = round(start - self._began, 3)
        self._manifest.write(self._record, complete=complete)
        self._written = time.monotonic()
        self._pause = max(_WRITE_EVERY, (self._written - start) / _SHARE)

    def repeat_warnings(self) -> None:
        """Warn of what the workers were warned of: once for each kind, with the first parts that it concerned."""
        for category, messages in self._warnings.items():
            shown = "\n  ".join(messages[:_SHOWN])
            more = f"\n  and {len(messages) - _SHOWN} more, which the manifest has" if len(messages) > _SHOWN else ""
            kind = getattr(exceptions, category, UserWarning)
            if not issubclass(kind, Warning):
                kind = UserWarning
            warn(f"Warnings of {len(messages)} part(s):\n  {shown}{more}", kind)
