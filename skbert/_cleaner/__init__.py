"""Cleaning of texts. Room beside the embedder: imports only ``_texts``, ``_params`` and ``exceptions``."""

from skbert._cleaner.cleaner import TextCleaner

__all__ = ["TextCleaner"]
