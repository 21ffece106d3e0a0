"""Formulas that a page keeps outside its text, put back into it in the HTML source: LaTeX between `$` or `$$`.

MathJax scripts, MathML, KaTeX, Wikipedia, images with LaTeX in alt or src, pandoc spans. One scan finds them all, as each
scan costs half a parse; no pattern searches past the tag that it began in, which keeps every input linear."""
import html
import re
from urllib.parse import unquote

from mathrl.mining.mathml import mathml_to_latex

# Stands for a line break through the parser, which would fold it and let a TeX comment swallow the rest.
NEWLINE = '\ufdd4'
# Plain alternatives with both cases spelt out: twice as fast here as classes, groups or IGNORECASE.
_SPECIAL = re.compile(r'<(script|img|math|nav|svg|style|header|footer|SCRIPT|IMG)(?=[\s/>])')
# The parser indents its output: lists 10,000 deep in one another are 100 MB of it.
_LIST = re.compile(r'<(ul|ol|/ul|/ol|UL|OL|Ul|uL|Ol|oL|/UL|/OL)(?=[\s/>])')
_DEEPEST_LIST = 50
_LIST_OPENING = re.compile('<[uoUO][lL]')
_REST = re.compile(r'([^<>"\']*+(?:(?:"[^"]*+"|\'[^\']*+\')[^<>"\']*+)*+)>')
_UNQUOTED_REST = re.compile(r'([^<>]*+)>')
_BROKEN = re.compile(r'\\\n')
_MATH = re.compile(r'<math(?=[\s>])')
_PREFIXED = re.compile(r'(</?)(?:m|mml|math):(?=[a-z])')
_LONGEST_IMAGE = 4000  # characters of attributes; beyond, the picture itself stands in its address
_DATA = re.compile(r'data:[^"\'\s]*+')
_ANNOTATION = re.compile(r'<annotation\b([^<>]*+)>')
_TEX = re.compile(r'tex(?!t)', re.I)
_PANDOC = re.compile(r'(<span class="math (inline|display)">)([^<]++)(?=</span>)')
_ATTRIBUTE = re.compile(r'([\w:-]++)\s*+=\s*+(?:"([^"]*+)"|\'([^\']*+)\'|([^\s"\'>]++))')
_SOURCE = re.compile(r'codecogs\.com/[^?]*+\?|(?:mimetex|mathtex|tex)\.cgi\?|latex\.php\?latex=|chart\?cht=tx&chl='
                     r'|equation\?tex=', re.I)
_IMAGE_CLASS = re.compile(r'(?:^|\s)(?:tex|latex|math|equation|ee_img)(?:\s|$|_)', re.I)
_STANDALONE = re.compile(r'\\begin\{(?:equation|align|gather|eqnarray|multline|alignat|flalign|displaymath)\*?\}')
_DELIMITED = re.compile(r'\$|\\\(|\\\[')
_WRAPPERS = re.compile(r'\A\s*%?\s*<!\[CDATA\[|%?\s*\]\]>\s*\Z')


def with_formulas(source: str) -> tuple[str, set[str]]:
    """(HTML source with every such formula as escaped text, once, where it stood; which of nav, svg, header, footer it holds).

    Other scripts, images, menus and drawings go. 'so <script type="math/tex">a<b</script>' ->
    ('so $a&lt;b$', set())."""
    out, done, at, left = [], 0, 0, set()
    while found := _SPECIAL.search(source, at):
        start, at = found.span()
        new, end = _WRITERS[found.group(1).lower()](source, start, at, left)
        if end:
            out += source[done:start], new
            done = at = end
    source = ''.join([*out, source[done:]]) if done else source
    if '\\' in source:   # a control space, or a `\\\\` that Markdown has halved: either way the break is part of the formula
        source = _BROKEN.sub(f'\\\\{NEWLINE}', source)
    return source, left & {'nav', 'svg', 'header', 'footer'}


def without_deep_lists(source: str) -> str:
    """HTML source with lists flattened from 50 deep in one another on."""
    if len(_LIST_OPENING.findall(source)) < _DEEPEST_LIST:
        return source
    out, done, depth = [], 0, 0
    for found in _LIST.finditer(source):
        closing = source[found.start() + 1] == '/'
        if depth - closing >= _DEEPEST_LIST:
            out.append(source[done:found.start()])
            done = source.find('>', found.end()) + 1 or len(source)
        depth = max(0, depth - 1) if closing else depth + 1
    return ''.join([*out, source[done:]]) if done else source


def with_pandoc_formulas(source: str) -> str:
    """'<span class="math inline">x</span>' -> '<span class="math inline">$x$</span>'; spans with delimiters stay."""
    return _PANDOC.sub(_pandoc, source)


def delimited(tex: str, display: bool) -> str:
    """'x^2' -> '$x^2$' or '$$x^2$$'; what brings its own delimiters or is an environment stays as it is."""
    tex = tex.strip()
    if not tex or _STANDALONE.match(tex) or _DELIMITED.match(tex) and tex[-1] in '$)]':
        return tex
    return f'$${tex}$$' if display else f'${tex}$'


def _escaped(tex, display):
    text = html.escape(delimited(tex, display), quote=False).replace('\n', NEWLINE)
    return f'<br>{text}<br>' if display else text


def _script(source, start, at, left):
    """A script ends at the first `</script`, whatever it holds, as in a browser."""
    close = source.find('</script', at)
    if close < 0:
        return '', len(source)
    end = source.find('>', close) + 1 or len(source)
    attributes, _, inner = source[at:close].partition('>') if 'math/' in source[at:at + 200] else ('', '', '')
    if 'math/tex' in attributes:
        return _escaped(html.unescape(_WRAPPERS.sub('', inner)), 'display' in attributes), end
    if 'math/mml' in attributes:
        inner = _PREFIXED.sub(r'\1', inner)
        found = _MATH.search(inner)
        return (_math(inner, *found.span(), set())[0] if found else ''), end
    return '', end


def _attributes_at(source, at, left):
    """The rest of a tag. After one that never ends, quotes count for nothing: else each tag could be read to the end."""
    rest = (_UNQUOTED_REST if 'quote' in left else _REST).match(source, at)
    if not rest:
        left.add('quote')
    return rest


def _math(source, start, at, left):
    opening = _attributes_at(source, at, left)
    close = source.find('</math', opening.end()) if opening and 'math' not in left else -1
    if close < 0:
        left.update(['math'] if opening else [])
        return '', 0
    before = source[max(0, start - 160):start].rpartition('</math')[2]
    display = bool(re.search(r'display\s*=\s*["\']block|mode\s*=\s*["\']display', opening.group(1))
                   or 'katex-display' in before or 'mathml-display' in before)
    tex = _tex_of(opening.group(1), source[opening.end():close])
    return _escaped(tex, display), source.find('>', close) + 1 or len(source)


def _tex_of(attributes, inner):
    for note in _ANNOTATION.finditer(inner):
        if _TEX.search(_attributes(note.group(1)).get('encoding', '')):
            end = inner.find('</', note.end())
            return html.unescape(_WRAPPERS.sub('', inner[note.end():end if end >= 0 else len(inner)]))
    given = _attributes(attributes)
    return given.get('alttext') or given.get('data-latex') or mathml_to_latex(inner)


def _attributes(source):
    return {name.lower(): html.unescape(a or b or c) for name, a, b, c in _ATTRIBUTE.findall(source)}


def _dropped(name):
    """Menus, drawings and style sheets are a quarter of the bytes: out before the parse, where they are closed."""
    tag, opening, closing = (re.compile(rf'{begin}{name}(?=[\s/>])') for begin in ('<(/?)', '<', '</'))

    def write(source, start, at, left):
        end = closing.search(source, at) if name not in left else None
        if end and opening.search(source, at, end.start()):   # in one another
            depth = 1
            for end in tag.finditer(source, at):
                depth += -1 if end.group(1) else 1
                if not depth:
                    break
            else:
                end = None
        if end:
            return '', source.find('>', end.end()) + 1 or len(source)
        left.add(name)
        return '', 0
    return write


def _image(source, start, at, left):
    tag = _attributes_at(source, at, left)
    if not tag:
        return '', 0
    attributes = tag.group(1)
    if len(attributes) > _LONGEST_IMAGE:
        attributes = _DATA.sub('', attributes)
    return _image_text(attributes) if _may_be_formula(attributes) else '', tag.end()


def _may_be_formula(a):
    """Whether an image's attributes hold any of the hints; written out, as most pages have many images."""
    return ('tex' in a or 'math' in a or '\\' in a or 'equation' in a or 'TeX' in a or 'ee_img' in a
            or '?' in a and ('.cgi?' in a or 'cht=tx' in a) or '$' in a and ('"$' in a or "'$" in a))


def _image_text(attributes):
    given = _attributes(attributes)
    alt, words = given.get('alt', '').strip(), given.get('class', '')
    address = given.get('src') or given.get('data-src') or ''
    if 'mwe-math' in words:
        return ''
    hit = _SOURCE.search(address)
    if hit:
        drawn = re.sub(r'&(?:bg|fg|s|c)=.*\Z', '', address[hit.end():], flags=re.S)
        drawn = unquote(drawn.replace('&space;', ' ').replace('+', ' '))
        return _escaped(alt if _looks_like_tex(alt) else drawn, False)
    own = len(alt) > 2 and alt[0] == '$' and alt[-1] == '$' or alt.startswith(('\\(', '\\[', '\\begin{'))
    if own or _IMAGE_CLASS.search(words) and (_looks_like_tex(alt) or 0 < len(alt) <= 2):
        return _escaped(alt, False)
    return ''


def _looks_like_tex(alt):
    return len(alt) >= 4 and any(c in alt for c in '\\^_=<>+')


def _pandoc(match):
    opening, kind, tex = match.groups()
    if _DELIMITED.match(tex.strip()):
        return match.group()
    return opening + (f'$${tex}$$' if kind == 'display' else f'${tex.strip()}$')


def _kept(name):
    """What the caller is told of, and which stays."""
    def write(source, start, at, left):
        left.add(name)
        return '', 0
    return write


_WRITERS = {'script': _script, 'img': _image, 'math': _math, **{name: _dropped(name) for name in ('nav', 'svg', 'style')},
            **{name: _kept(name) for name in ('header', 'footer')}}
