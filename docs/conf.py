"""How Sphinx builds the site: ``make docs``, without a network, every example of the gallery executed.

With ``SKBERT_DOCS_ONLINE`` set, types and functions of scikit-learn, numpy and others are linked to their own pages,
whose lists of names are then downloaded.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import skbert

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS / "_extensions"))

from built_on import describe_machine  # noqa: E402
from unreleased import write_unreleased  # noqa: E402

write_unreleased(ROOT, DOCS / "_generated" / "unreleased.md")

project = "skbert"
author = "The skbert developers"
copyright = f"2026, {author}"
version = release = skbert.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "gallery",
    "members",
    "name_links",
]
exclude_patterns = ["_build", "_generated", "_extensions"]
templates_path = ["_templates"]
default_role = "literal"  # what stands between single backticks in a docstring is code
maximum_signature_line_length = 88  # a longer signature has a line for each parameter
toc_object_entries_show_parents = "hide"
smartquotes = False  # what stands in quotes in a docstring is often Python, to be copied
nitpicky = True
# Without other projects' lists of names only skbert's own can be looked up.
OTHERS = (
    "sklearn",
    "numpy",
    "np",
    "pandas",
    "pd",
    "polars",
    "torch",
    "transformers",
    "joblib",
    "matplotlib",
    "ray",
    "importlib",
)
nitpick_ignore_regex = [("py:.*", rf"(?:{'|'.join(OTHERS)})\..*")]
# Attributes of GridSearchCV's, which numpydoc takes for pages of their own.
nitpick_ignore = [("py:obj", "classes_"), ("py:obj", "n_features_in_")]

if os.environ.get("SKBERT_DOCS_ONLINE"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
    }

# -- pages ---------------------------------------------------------------------------------------------------------
myst_enable_extensions = ["colon_fence", "deflist", "substitution"]
myst_heading_anchors = 4  # those that GitHub makes, so that links lead to the same places there and here

# -- the reference -------------------------------------------------------------------------------------------------
autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's sections say the types, with shapes
numpydoc_show_class_members = False  # the template of a class has its members
numpydoc_xref_param_type = False

# -- the gallery ---------------------------------------------------------------------------------------------------
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"search_on_ray\.py",  # it starts a cluster; the guide shows it, and `make test-ray` runs it
    "within_subsection_order": "gallery.place_of",
    "abort_on_example_error": True,
    "reset_argv": "gallery.arguments_of",
    "reset_modules": ("matplotlib", "gallery.watch_example"),
    "reset_modules_order": "both",
    "image_srcset": ["2x"],
    "thumbnail_size": (560, 392),
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,  # a page that would load scripts from the network
    "min_reported_time": 0,
    "show_signature": False,
    "remove_config_comments": True,
    "doc_module": ("skbert",),
    "reference_url": {"skbert": None},
    "backreferences_dir": "_generated/backreferences",
}

# -- how it looks --------------------------------------------------------------------------------------------------
html_theme = "pydata_sphinx_theme"
html_title = f"skbert {release}"
html_static_path = ["_static"]
html_css_files = ["skbert.css"]
html_favicon = "_static/mark.svg"
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {"five_minutes": [], "whats_new": []}
html_context = {"built_on": describe_machine(), "default_mode": "auto"}
html_theme_options = {
    "logo": {"text": "skbert", "image_light": "_static/mark.svg", "image_dark": "_static/mark.svg"},
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "show_prev_next": True,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": ["built_on"],
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "back_to_top_button": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
# Prompts of examples in docstrings are not copied.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
# Code is copied, what it printed is not.
copybutton_selector = ", ".join(f"div.highlight-{kind} pre" for kind in ("python", "py", "default", "pycon", "sh"))
