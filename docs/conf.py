"""Settings of the documentation site. It is built by `make docs` from a folder that docs/tools/build.py puts together."""
import re
from docutils import nodes
from latex2mathml.converter import convert

project, author, copyright = "valor_lab", "valor_lab contributors", "2026, valor_lab contributors"
extensions = ["myst_nb"]
root_doc = "index"
exclude_patterns = ["**/.ipynb_checkpoints"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
language = "en"
highlight_language = "none"

# Notebooks are shown as they were committed. Nothing is executed, and nothing is fetched: no widget manager, no MathJax, no fonts.
nb_execution_mode = "off"
nb_ipywidgets_js = {}
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None), ("html", "text/html", 10), ("html", "image/png", 20)]
myst_enable_extensions = ["dollarmath", "fieldlist", "attrs_block", "attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 4
myst_dmath_allow_labels = False
myst_update_mathjax = False

html_theme = "pydata_sphinx_theme"
html_title = "valor_lab"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_sphinx = False
html_use_index = False
html_domain_indices = False
html_favicon = "_static/favicon.svg"
html_permalinks_icon = "#"
html_context = dict(default_mode="auto")
html_sidebars = {"*": [], "benchmarks/*": [], "data/*": []}
html_theme_options = dict(
    logo=dict(text="valor_lab"), navbar_align="left", header_links_before_dropdown=9, show_nav_level=1, navigation_depth=3, show_toc_level=2,
    navbar_end=["theme-switcher"], navbar_persistent=["search-button"], footer_start=["copyright"], footer_end=[], secondary_sidebar_items=["page-toc"],
    show_prev_next=False, pygments_light_style="a11y-high-contrast-light", pygments_dark_style="a11y-high-contrast-dark", use_edit_page_button=False)
python_maximum_signature_line_length = 88
add_module_names = False
toc_object_entries = False

def mathml(self, node, display):
    self.body.append(convert(node.astext().replace("\\!", ""), display="block" if display else "inline"))
    raise nodes.SkipNode

def setup(app):
    "Formulas as MathML, which browsers draw themselves."
    app.add_html_math_renderer("mathml", (lambda self, node: mathml(self, node, False), None), (lambda self, node: mathml(self, node, True), None))
    app.config.html_math_renderer = "mathml"
    return dict(parallel_read_safe=True, parallel_write_safe=True)

html_math_renderer = "mathml"
