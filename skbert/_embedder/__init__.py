"""BertEmbedder, texts to vectors by a frozen BERT. Above ``_engine``, ``_store`` and ``_texts``."""

from skbert._embedder.embedder import BertEmbedder

__all__ = ["BertEmbedder"]
