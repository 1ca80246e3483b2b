"""Bundles: a fitted estimator as a folder without any pickle. Upper room: nothing but the package itself imports it."""

from skbert._bundle.bundle import load_bundle, save_bundle

__all__ = ["load_bundle", "save_bundle"]
