"""How Sphinx builds these pages; `make docs` runs it with warnings as errors and nothing from the network."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent / "_extensions")]

from silicut.version import __version__

project = "silicut"
author = "the silicut authors"
release = version = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.viewcode",
    "docstrings",
    "registries",
]
exclude_patterns = ["_build", "generated/_*"]

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

smartquotes = False  # options begin with two dashes
default_role = "py:obj"  # single backticks in docstrings: a link where there is something to link to
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100

doctest_test_doctest_blocks = ""  # docstrings are run by pytest; here only what the pages say
doctest_global_setup = "import os; os.environ.setdefault('OMP_NUM_THREADS', '1')"

html_theme = "furo"
html_title = "silicut"
html_static_path = ["_static"]
html_css_files = ["silicut.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#2b5f8f", "color-brand-content": "#2b5f8f"},
    "dark_css_variables": {"color-brand-primary": "#7fb2e0", "color-brand-content": "#7fb2e0"},
}
pygments_style, pygments_dark_style = "friendly", "github-dark"
