"""HeadSearchCV: a grid search that trains the heads of all candidates and folds together. Above ``_classifier``."""

from skbert._search.search import HeadSearchCV

__all__ = ["HeadSearchCV"]
