"""A frozen BERT behind scikit-learn's fit, transform and predict."""

from skbert._bundle import load_bundle, save_bundle
from skbert._classifier import BertSentimentClassifier
from skbert._cleaner import TextCleaner
from skbert._displays import TrainingHistoryDisplay
from skbert._embedder import BertEmbedder
from skbert._engine.registry import release_models
from skbert._head import HeadClassifier
from skbert._report import text_report
from skbert._search import HeadSearchCV
from skbert._store.caches import cache_info, clear_cache
from skbert._store.disk import DiskStore
from skbert._store.memory import MemoryStore

__all__ = [
    "BertEmbedder",
    "BertSentimentClassifier",
    "DiskStore",
    "HeadClassifier",
    "HeadSearchCV",
    "MemoryStore",
    "TextCleaner",
    "TrainingHistoryDisplay",
    "cache_info",
    "clear_cache",
    "load_bundle",
    "release_models",
    "save_bundle",
    "text_report",
]
__version__ = "0.1.0.dev0"
