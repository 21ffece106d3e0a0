"""HTML bytes -> the page's text: mathematics as LaTeX between delimiters, code fenced, boilerplate gone.

One pass in C does the parsing (resiliparse); ours are a few searches over the source before it and over its short
output after it."""
import re
from dataclasses import dataclass
from html import unescape

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from mathrl.mining.boilerplate import LENIENT, RENDERED, selectors, telling_words
from mathrl.mining.charset import decode
from mathrl.mining.formulas import with_formulas, with_pandoc_formulas, without_deep_lists
from mathrl.mining.plain import plain_text

_MAGIC = (b'%PDF-', b'\x89PNG', b'GIF8', b'\xff\xd8\xff', b'\x1f\x8b', b'PK\x03\x04', b'BZh',
          b'\x28\xb5\x2f\xfd', b'RIFF', b'\x7fELF')
_CONTROLS = bytes((*range(1, 9), *range(14, 27), *range(28, 32), 127))
_UNPRINTABLE = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]')
_CJK = '\u3001-\u30ff\u3400-\u9fff\uff01-\uff60'
_FOLD = re.compile(f'\n(?<=[{_CJK}]\n)[ \t]*+(?=[{_CJK}])')
_SHORT = 200  # characters: less than that from a large source and the boilerplate rules are doubted
_LARGE, _DEEPEST = 50_000, 3000  # characters; in smaller sources no depth costs more than seconds
_UNNESTED = 'a|p|li|td|th|tr|dd|dt|br|hr|img|input|wbr|col|option|link|meta|source|area'
_OPEN = re.compile(rf'<(/?)(?!(?:{_UNNESTED})\b)[a-zA-Z]', re.I)
_TITLE = re.compile(rb'<title[^<>]*+>([^<]*+)', re.I)
_HEAD_END = re.compile(b'</head>')   # a pattern finds it in half the time of bytes.find
_BODY = re.compile(rb'\s*+<body\b', re.I)


@dataclass(frozen=True)
class Extracted:
    text: str
    title: str


def extract(html: bytes, charset: str = '') -> Extracted:
    """Text and title of an HTML page; `charset` is what the HTTP header said ('' if nothing).

    b'<h1>A</h1><p>so <script type="math/tex">x^2</script>' -> text 'A\\n\\nso $x^2$'. Text is '' where the page has none.
    Raises ValueError for bytes that are not HTML and for elements nested thousands deep."""
    return Extracted(page_text(html, charset), _title(html, charset, _end_of_head(html)))


def page_text(html: bytes, charset: str = '') -> str:
    """What `extract` gives as text, without the time that the title takes."""
    _refuse_binary(html)
    start = _end_of_head(html)
    source, tags = with_formulas(decode(html, charset, start))
    if len(source) > _LARGE:
        source = without_deep_lists(source)
        _refuse_deep(source)
    words, sane = telling_words(source)
    if 'math' in words and ('inline' in words or 'display' in words):
        source = with_pandoc_formulas(source)
    if '\u3002' in source or '\uff0c' in source:
        source = _without_folds(source)
    tex_scripts = not RENDERED.isdisjoint(words) and b'math/tex' in html
    tree = HTMLTree.parse(source)
    text = _text(tree, selectors(words, sane, tags, tex_scripts))
    if len(text) < _SHORT and len(source) > 10 * _SHORT:
        lenient = _text(tree, LENIENT)
        text = lenient if len(lenient) > 3 * max(len(text), _SHORT) else text
    return text


def _text(tree, skipped):
    markup = extract_plain_text(tree, preserve_formatting='minimal_html', links=True, skip_elements=skipped)
    return _UNPRINTABLE.sub('', plain_text(markup))


def _without_folds(source):
    """Chinese has no spaces: a line break between two of its characters is none either, but in <pre>."""
    if '\r' in source:
        source = source.replace('\r\n', '\n')
    if not _FOLD.search(source):
        return source
    first, *rest = source.split('<pre')
    out = [_FOLD.sub('', first)]
    for part in rest:
        code, end, after = part.partition('</pre')
        out += '<pre', code, end, _FOLD.sub('', after)
    return ''.join(out)


def _refuse_deep(source):
    """Raise where elements nest 3000 deep: the selectors' lookups of what holds what take quadratic time there.

    Counted by stretches, and exactly only where that leaves a doubt."""
    depth = deepest = 0
    for start in range(0, len(source), 1 << 14):
        depth += source.count('<', start, start + (1 << 14)) - 2 * source.count('</', start, start + (1 << 14))
        deepest = max(deepest, depth)
    if deepest <= _DEEPEST:
        return
    depth = 0
    for found in _OPEN.finditer(source):
        depth = max(0, depth + (-1 if found.group(1) else 1))
        if depth > _DEEPEST:
            raise ValueError(f'nested too deep: more than {_DEEPEST} elements inside one another')


def _end_of_head(body):
    """Where </head> ends, if <body> follows, else 0: the head holds no text and a seventh of the bytes."""
    found = _HEAD_END.search(body, 0, 1 << 20)
    return found.end() if found and _BODY.match(body, found.end()) else 0


def _title(body, charset, start):
    found = _TITLE.search(body, 0, start or 1 << 16)
    if not found:
        return ''
    try:
        title = found.group(1).decode('utf-8')
    except UnicodeDecodeError:  # the slice alone is too short to tell the charset from
        head = decode(body[:start or 1 << 16], charset)
        title = head[head.find('>', head.lower().find('<title')) + 1:].partition('<')[0]
    return ' '.join(_UNPRINTABLE.sub('', unescape(title)).split())


def _refuse_binary(body):
    head = body[:1024]
    if head.startswith(_MAGIC) or (len(head) - len(head.translate(None, _CONTROLS))) * 10 > len(head):
        raise ValueError('binary, not HTML')
