"""Seeing inside: tokens, words in context, attention, explanations. At the top of the house."""

from skbert.inspection._attention import attention
from skbert.inspection._attention_display import AttentionDisplay
from skbert.inspection._attention_map import AttentionMap
from skbert.inspection._embeddings import token_embeddings, word_embeddings
from skbert.inspection._explain import explain
from skbert.inspection._explanation import Explanation, Word
from skbert.inspection._explanation_display import ExplanationDisplay
from skbert.inspection._token_frame import TokenFrame
from skbert.inspection._tokens import tokenize

__all__ = [
    "AttentionDisplay",
    "AttentionMap",
    "Explanation",
    "ExplanationDisplay",
    "TokenFrame",
    "Word",
    "attention",
    "explain",
    "token_embeddings",
    "tokenize",
    "word_embeddings",
]
