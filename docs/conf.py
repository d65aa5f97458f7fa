"""Settings of the site, which `make site` builds with Sphinx; writes the generated pages too."""

import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from _generate import pages, reference  # noqa: E402  # after the path is set
from sphinx.addnodes import pending_xref  # noqa: E402

from mmengine.version import __version__  # noqa: E402

project = 'mmengine'
author = 'the authors of mmengine'
copyright = author
release = version = __version__
language = 'en'

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
    'sphinx_copybutton',
]
exclude_patterns = ['_generate/**']
myst_enable_extensions = ['colon_fence', 'deflist']
myst_heading_anchors = 4
default_role = 'code'

# The types are in the signatures only, as in the code.
autodoc_typehints = 'signature'
autodoc_typehints_format = 'short'
autodoc_member_order = 'bysource'
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False
napoleon_use_rtype = False
# Names of classes and functions are in the table at the top of each page of the reference.
toc_object_entries = False
viewcode_line_numbers = True
copybutton_exclude = '.linenos, .gp, .go'

html_theme = 'furo'
html_title = f'mmengine {release}'
html_static_path = ['_static']
html_css_files = ['site.css']
html_show_sphinx = False
html_copy_source = False

# Files beside the docs that are pages of the site.
ROOT_PAGES = ('CONTRIBUTING', 'CHANGELOG', 'VERSIONING', 'SECURITY')


def setup(app: Any) -> None:
    """Write the generated pages before any page is read."""
    app.connect('builder-inited', lambda app: pages.write(Path(app.srcdir) / 'generated'))
    app.connect('source-read', _link_to_root_pages)
    app.connect('doctree-read', _link_our_types_only)


def _link_to_root_pages(app: Any, docname: str, source: list[str]) -> None:
    """Let links to files of the repository's root lead to their pages of the site."""
    to_generated = '../' * docname.count('/') + 'generated/'
    names = '|'.join(ROOT_PAGES)
    source[0] = re.sub(
        rf'\]\((?:\.\./)+({names})\.md',
        lambda match: f']({to_generated}{match[1].lower()}.md',
        source[0].replace('](../README.md', '](index.md'),
    )


def _link_our_types_only(app: Any, doctree: Any) -> None:
    """Say where types of signatures are documented, because Sphinx looks for each among all names.

    Types that are not documented here become text.
    """
    for node in list(doctree.findall(pending_xref)):
        if not node.get('refspecific'):
            continue
        path = reference.paths().get(node.get('reftarget', '').rpartition('.')[2])
        if path is None:
            node.replace_self(node.children)
        else:
            node['reftarget'], node['refspecific'] = path, False
