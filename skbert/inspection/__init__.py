"""Seeing inside: tokens, words in context, attention, explanations. At the top of the house."""
