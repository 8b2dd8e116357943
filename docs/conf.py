"""How Sphinx builds the site: `nox -s docs`; warnings are errors."""

from __future__ import annotations

from repack import __version__

project = "repack"
author = "the authors of repack"
copyright = "the authors of repack, Apache-2.0"  # noqa: A001 - Sphinx's name for it
release = version = __version__

extensions = ["myst_parser", "sphinx_argparse_cli"]
exclude_patterns = ["recipes/*"]
myst_heading_anchors = 3
# A command's help is laid out already.
sphinx_argparse_cli_prefix_document = True
smartquotes = False

html_theme = "furo"
html_title = f"repack {__version__}"
html_copy_source = False
html_show_sphinx = False
# Lines such as `set NAME=value` are of Windows' console, which has a lexer of its own.
highlight_language = "text"
