"""Where a bundle may be put: nothing of the user's is replaced, and what is wrong with a place is told before."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from skbert import TextCleaner
from skbert._bundle import load_bundle, save_bundle
from skbert.exceptions import BundleError
from tests._bundles import embedder, names_in

# -- what is replaced ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["{}", "[]", "null", "no JSON", '{"webpack": 1}', '{"written_with": {}, "files": {}, "format": 1}', "[" * 100_000],
    ids=lambda text: text[:20],
)
def test_a_bundle_json_of_somebody_else_is_none(text, tmp_path):
    """Other programs call their files so, and have folders called `parts`."""
    (tmp_path / "parts").mkdir()
    (tmp_path / "bundle.json").write_text(text)
    with pytest.raises(BundleError, match=r"its bundle\.json is none that save_bundle wrote"):
        save_bundle(TextCleaner(), tmp_path, overwrite=True)
    (tmp_path / "parts/thesis.docx").write_text("years of work")
    with pytest.raises(BundleError, match="is not replaced"):
        save_bundle(TextCleaner(), tmp_path, overwrite=True)
    assert names_in(tmp_path) == ["bundle.json", "parts/thesis.docx"]


@pytest.mark.parametrize("name", ["parts/thesis.docx", "encoders/0/notes.txt", "encoders/mine.csv", "encoders/0/.env"])
def test_a_file_that_the_bundle_does_not_list_is_kept(name, tiny_bert_folder, tmp_path):
    """Wherever it lies, hidden or not; a link too."""
    folder = save_bundle(embedder(tiny_bert_folder), tmp_path / "bundle")
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("years of work")
    with pytest.raises(BundleError, match=f"it holds '{name}', which is no part of a bundle"):
        save_bundle(TextCleaner(), folder, overwrite=True)
    assert path.read_text() == "years of work"
    path.unlink()
    path.symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(BundleError, match=f"it holds '{name}', which is no part of a bundle"):
        save_bundle(TextCleaner(), folder, overwrite=True)
    path.unlink()
    save_bundle(TextCleaner(case="lower"), folder, overwrite=True)
    assert load_bundle(folder).case == "lower"


def test_a_bundle_with_a_missing_or_damaged_file_can_be_replaced(tiny_bert_folder, tmp_path):
    """It is still a bundle, and nothing else."""
    folder = save_bundle(embedder(tiny_bert_folder), tmp_path / "bundle")
    (folder / "encoders/0/config.json").unlink()
    (folder / "arrays.safetensors").write_bytes(b"half")
    save_bundle(TextCleaner(case="lower"), folder, overwrite=True)
    assert load_bundle(folder).case == "lower"


# -- within another ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["inner", "encoders/0/inner", "parts"])
def test_a_place_within_another_bundle_is_refused(name, tiny_bert_folder, tmp_path):
    """It would make the outer one's model another, and go when that is replaced; the outer one is named."""
    outer = save_bundle(embedder(tiny_bert_folder), tmp_path / "outer")
    before = names_in(outer)
    with pytest.raises(BundleError, match="lies within another bundle") as error:
        save_bundle(TextCleaner(), outer / name)
    assert f"another bundle, {str(outer)!r}" in str(error.value)
    assert names_in(outer) == before


def test_a_bundle_json_of_somebody_else_above_does_not_matter(tmp_path):
    """A web project may have one at its root."""
    (tmp_path / "bundle.json").write_text(json.dumps({"files": {}, "format": 1}))
    load_bundle(save_bundle(TextCleaner(), tmp_path / "models" / "bundle"))


# -- places that cannot be -----------------------------------------------------------------------------------------


def test_a_long_name_is_no_shorter_for_the_way_it_is_made(tmp_path):
    """As long as the system has it; what is longer is told with the name that the user gave."""
    name = "n" * 255
    load_bundle(save_bundle(TextCleaner(), tmp_path / name))
    for call in (lambda place: save_bundle(TextCleaner(), place), load_bundle):
        with pytest.raises(BundleError, match=rf"cannot be '.*/{name}n': File name too long"):
            call(tmp_path / f"{name}n")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_place_under_a_file_is_told(tmp_path):
    """With the user's folder, and none of a hidden name."""
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file/bundle", tmp_path / "file/deeper/bundle"):
        with pytest.raises(BundleError, match="Not a directory") as error:
            save_bundle(TextCleaner(), place)
        assert str(place) in str(error.value)
        assert ".partial" not in str(error.value)
        with pytest.raises(BundleError, match="Not a directory"):
            load_bundle(place)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_place_that_cannot_be_written_is_told(code, tmp_path, monkeypatch):
    """Read-only disks, other people's folders."""

    def refused(self, *args, **params):
        raise OSError(code, "the system's words", str(self))

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(BundleError, match="cannot be made: the system's words") as error:
        save_bundle(TextCleaner(), tmp_path / "bundle")
    assert repr(str(tmp_path / "bundle")) in str(error.value)
    assert ".partial" not in str(error.value)


def test_a_name_that_no_system_has_is_told(tmp_path):
    """A null character, from a broken string."""
    for call in (lambda place: save_bundle(TextCleaner(), place), load_bundle):
        with pytest.raises(BundleError, match=r"cannot be .*null"):
            call(f"{tmp_path}/a\0b")
