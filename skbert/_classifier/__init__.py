"""BertSentimentClassifier: an embedder and a head in one classifier of texts. Above ``_embedder`` and ``_head``."""

from skbert._classifier.classifier import BertSentimentClassifier

__all__ = ["BertSentimentClassifier"]
