"""Errors and warnings of skbert. Lowest room of the house: imports nothing of skbert.

The tree::

    SkbertError (Exception)
    ├── InvalidParameterError (ValueError, TypeError)   a constructor parameter has a wrong value
    ├── TextInputError (ValueError, TypeError)          X is not what a text input may be
    │   └── MissingTextError                            X holds None / NaN / pd.NA
    ├── ModelNotFoundError (OSError)                    no files could be had for that model
    ├── ModelFilesError (ValueError)                    files are there, but cannot be used
    │   └── FingerprintError                            usable, but not the weights of the fit
    ├── DeviceError (RuntimeError)                      a device cannot be used from this process
    ├── BundleError (ValueError)                        a bundle cannot be written, or is not to be read
    ├── TargetError (ValueError)                        a folder cannot take the vectors of embed_parquet
    ├── CacheFormatError (ValueError)                   a folder holds vectors that a newer skbert wrote
    └── StateFormatError (ValueError)                   a pickle or bundle that a newer skbert wrote
    SkbertWarning (UserWarning)
    ├── TruncationWarning                               texts were cut at max_length
    ├── CacheWarning                                    the vector store dropped or missed something
    ├── DeviceWarning                                   one of several devices failed, and others did its work
    ├── LeakageWarning                                  copies are in the training and the validation part
    └── ValidationSplitWarning                          early stopping had to go on without a split

Every class has a built-in base, so that code which knows only scikit-learn's
conventions (``except ValueError``) keeps working.
"""

from __future__ import annotations

__all__ = [
    "BundleError",
    "CacheFormatError",
    "CacheWarning",
    "DeviceError",
    "DeviceWarning",
    "FingerprintError",
    "InvalidParameterError",
    "LeakageWarning",
    "MissingTextError",
    "ModelFilesError",
    "ModelNotFoundError",
    "SkbertError",
    "SkbertWarning",
    "StateFormatError",
    "TargetError",
    "TextInputError",
    "TruncationWarning",
    "ValidationSplitWarning",
]


class SkbertError(Exception):
    """Base class of every error that skbert raises on purpose."""


class InvalidParameterError(SkbertError, ValueError, TypeError):
    """A constructor parameter has a value that it may not have."""


class TextInputError(SkbertError, ValueError, TypeError):
    """X is not a sequence of texts or of pairs of texts."""


class MissingTextError(TextInputError):
    """X holds missing values and the policy is ``missing="error"``."""


class ModelNotFoundError(SkbertError, OSError):
    """No files could be had for the model that was named."""


class ModelFilesError(SkbertError, ValueError):
    """A model's files were found and cannot be used."""


class FingerprintError(ModelFilesError):
    """A model's files are sound, but they are not those of the fit."""


class DeviceError(SkbertError, RuntimeError):
    """A device is there, and this process cannot use it."""


class BundleError(SkbertError, ValueError):
    """An estimator cannot be saved as a bundle, or a folder is no sound one."""


class TargetError(SkbertError, ValueError):
    """A folder holds something else than the vectors that are to be written there."""


class CacheFormatError(SkbertError, ValueError):
    """A folder holds vectors in a format that this skbert cannot read yet."""


class StateFormatError(SkbertError, ValueError):
    """An estimator was saved in a format that this skbert cannot read yet."""


class SkbertWarning(UserWarning):
    """Base class of every warning that skbert gives."""


class TruncationWarning(SkbertWarning):
    """Texts were longer than ``max_length`` and have been cut."""


class CacheWarning(SkbertWarning):
    """A vector store dropped vectors, or could not keep them."""


class DeviceWarning(SkbertWarning):
    """One of several devices failed, and the others did its work."""


class LeakageWarning(SkbertWarning):
    """Rows of the validation part have copies in the training part."""


class ValidationSplitWarning(SkbertWarning):
    """Early stopping was asked for, but no validation part could be split off."""
