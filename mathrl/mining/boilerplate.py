"""Which elements of a page are not its text: by tag, role, class and id.

Only the selectors that can match are handed to the parser: it tries each one on each node, and 150 of them cost more
than the parse. Those of an attribute are one, of which a node without the attribute fails the first part."""
import re

# The last part of a class (`left-sidebar`), unless the word says that a page or a column has one (`page-no-sidebar`).
_LAST = re.compile(r"""
    (?!(?:.*[-_])?(?:has|with|no|without|show|hide|is|not|js|u|content|main|single|two|three|layout|enable|below|above)[-_])
    (?:[\w-]*[-_])?(?:
    side-?bar|nav-?bar|nav|navi|navigation|nav-?links|menus?|breadcrumbs?|crumbs?|toc|table-of-contents
    |footer|masthead|pagination|pager|paginator|skip-?links?|cookies?|share|sharing|social|socials|newsletter|subscribe|modal|popup|advert
    |advertisement|ads|banner|editsection|headerlink|permalink|line-?nos?|line-?numbers?|widgets|widget-area|related
    |related-?posts|related-articles|sitenav|topnav|subnav|mainnav|sidenav)""", re.X | re.I)
_FIRST = re.compile(r"""(?:cookie|breadcrumb|social|share-|sharing|sharedaddy|shariff|cc-window|gdpr|addtoany|navbox|newsletter
    |mw-jump|catlinks|dropdown-menu|nav-item|nav-link|comment-respond|comment-form|comment-reply|sphinxsidebar|wy-nav
    |bd-sidebar|borlabs|widget_|site-header|header-nav|footer-|latex-macros|latex-image-preamble|printfooter|noprint|vector-menu|mw-portlet
    |MathJax_Preview|searchform|search-form|searchbox|prev-next|prevnext|post-nav|paginav
    |nav-(?:previous|next|below|above)|jp-relatedposts|hidden-print|screen-reader-text|visually-hidden|sr-only|gutter$)""", re.X | re.I)
_SAFE = re.compile(r'[A-Za-z_][\w-]{1,60}', re.A)
_CLASSES = re.compile(r'class=["\']?([^"\'<>]*+)')
# Wrappers of the whole page have such names too: what holds its title, its article or a run of paragraphs is no box.
_SURE = re.compile(r'cookie|gdpr|consent|comment-|breadcrumb|paginat|latex-|MathJax_Preview|newsletter|katex', re.I)
_NOT_PAGE = ':not(:has(h1,main,article))'
_BOX = ':not(:has(h1,main,article,p~p~p))'
_OF_TAG = {'nav': ['nav'], 'svg': ['svg'], 'footer': [f'footer{_NOT_PAGE}'],
           'header': [f'{path}>header{_NOT_PAGE}' for path in ('body', 'body>div', 'body>div>div')]}
_ALWAYS = [f'[role=navigation]{_BOX}', '[id]:is(#toc,#respond)',
           f'[id]:is(#header,#footer,#sidebar,#nav,#menu){_BOX}']
RENDERED = frozenset(('MathJax', 'MathJax_SVG', 'MathJax_CHTML', 'mjx-chtml', 'MathJax_Display', 'MathJax_SVG_Display',
                      'MJXc-display'))
_FORMULA_WORDS = RENDERED | {'katex-mathml', 'math', 'inline', 'display'}
LENIENT = ['nav', 'svg', '.katex-html', '.MathJax_Preview', '.latex-macros']
_MANY, _MOST_SELECTORS = 2000, 100
_seen: dict[str, tuple] = {}     # class attributes, and their telling words
_silent: set[str] = set()        # those without any, which most are


def telling_words(source: str) -> tuple[set[str], bool]:
    """The words in class attributes that name boilerplate or formula markup; whether a sane number of elements has them.

    '<p class="x left-sidebar">' -> ({'left-sidebar'}, True). The words of <body> count for nothing: they speak of
    the whole page."""
    words = set()
    every = _CLASSES.findall(source)
    for names in set(every) - _silent:
        known = _seen.get(names)
        words.update(_telling(names) if known is None else known)
    sane = len(every) < _MANY or sum(1 for names in every if names not in _silent) < _MANY
    body = source.find('<body', 0, 4096)
    if body >= 0:
        for names in _CLASSES.findall(source[body:source.find('>', body) + 1]):
            words.difference_update(names.split())
    return words, sane


def _telling(names):
    if len(_seen) + len(_silent) > 100_000:
        _seen.clear()
        _silent.clear()
    found = tuple(word for word in names.split()[:50] if word in _FORMULA_WORDS or _is_boilerplate(word))
    if found:
        _seen[names[:1000]] = found
    else:
        _silent.add(names[:1000])
    return found


def _is_boilerplate(word):
    return bool(_SAFE.fullmatch(word) and (_LAST.fullmatch(word) or _FIRST.match(word)))


def selectors(words: set[str], sane: bool, tags: set[str], tex_scripts: bool) -> list[str]:
    """CSS selectors of the elements to leave out of a page with these telling words, and with these of the tags nav, svg,
    footer, header.

    {'left-sidebar'}, tags {'footer'} -> ['[class]:is(.left-sidebar):not(:has(h1,...))', 'footer...', ...]. Not `sane`: thousands of elements have
    such words and may lie in one another, where looking into each takes quadratic time; the name alone decides.
    `tex_scripts`: MathJax's scripts gave the formulas, so all of its rendering goes."""
    boxes = sorted(words - _FORMULA_WORDS)[:_MOST_SELECTORS]
    sure = [w for w in boxes if _SURE.search(w)] if sane else boxes
    chosen = _of_classes(sure, _NOT_PAGE if sane else '') + _of_classes([w for w in boxes if w not in sure], _BOX)
    if 'katex-mathml' in words:
        chosen.append('.katex-html')
    if not RENDERED.isdisjoint(words):
        chosen += _of_classes(sorted(RENDERED & words)) if tex_scripts else ['nobr', 'mjx-math', '.mjx-math']
    for tag in sorted(tags):
        chosen += _OF_TAG[tag]
    return chosen + _ALWAYS


def _of_classes(words, which=''):
    return [f'[class]:is({",".join("." + w for w in words)}){which}'] if words else []
