"""HeadClassifier, a 2-D scikit-learn classifier trained with torch. Above ``_training``, below ``_classifier``."""

from skbert._head.classifier import HeadClassifier

__all__ = ["HeadClassifier"]
