"""The parser's minimal markup (p, h1-6, lists, pre, br, a; text escaped) to lines: menus gone, code fenced, lists marked."""
import re

from mathrl.mining.formulas import NEWLINE

_LINK_OR_TAG = re.compile(r'<(?:a href="[^"]++">[^<]*+(?:</a>|$)|[^<>]*+>)')
_TAG = re.compile(r'<[^>]*+>')   # the parser escapes both signs everywhere else
_CODE, _LINK, _NUMBERS = re.compile('<pre>'), re.compile('<a '), re.compile('<ol>')   # twice as fast as str.find
_ITEM = re.compile(r'<li>\s*+(?:<p>)?')
_LIST = re.compile(r'<li>\s*+(?:<p>)?|</?[ou]l>')
_MACRO_WORD = re.compile(r'\\(?:newcommand|renewcommand|providecommand|DeclareMathOperator|def)(?![a-z])')
_FORMULA_OF_MACROS = re.compile(r'(\\\(|\\\[|\$\$?)\s{0,9}' + _MACRO_WORD.pattern)
_BRACES = r'\{(?:[^{}]|\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*+\})*+\})*+\})*+\}'
_DEFINITION = re.compile(_MACRO_WORD.pattern + r'\*?\s*+(?:\{[^{}]*+\}|\\[a-zA-Z]++)(?:\[[^\[\]]*+\]|#\d)*+\s*+'
                         + _BRACES)
_CLOSING = {'\\(': '\\)', '\\[': '\\]', '$': '$', '$$': '$$'}
_ENTITY = re.compile(r'&(lt|gt|quot|amp);')
_CHARACTER = {'lt': '<', 'gt': '>', 'quot': '"', 'amp': '&'}


def plain_text(markup: str) -> str:
    """Lines of text, blocks apart by at most one blank line, entities decoded once.

    '<h2>A</h2>\\n\\n<ul>\\n  <li>x</li>\\n</ul>' -> 'A\\n\\n- x'."""
    first, *rest = _CODE.split(markup)
    out = [_lines(first)]
    for part in rest:
        code, _, after = part.partition('</pre>')
        code = _TAG.sub('', code.replace('<br>', '\n')).strip('\n').rstrip()
        out += f'```\n{code}\n```' if code.strip() else '', _lines(after)
    text = _unescaped('\n'.join(filter(None, out)))
    if '[' in text and '[/' in text and 'tex]' in text:
        text = _dollars(_dollars(text, '[tex]', '[/tex]'), '[itex]', '[/itex]')
    return _without_macros(text) if _MACRO_WORD.search(text) else text


def _lines(markup):
    markup = _without_menus(markup)
    text = _TAG.sub('', _numbered(markup) if _NUMBERS.search(markup) else _ITEM.sub('- ', markup))
    lines = ['']
    for line in map(str.strip, text.split('\n')):
        if line != '-' and (line or lines[-1]):
            lines.append(line)
    return '\n'.join(lines).strip()


def _without_menus(markup):
    out, done, end = [], 0, 0
    for link in _LINK.finditer(markup):
        at = link.start()
        if at < end:   # in the line of another one
            continue
        start, end = markup.rfind('\n', end, at) + 1 or end, markup.find('\n', at)
        end = end if end >= 0 else len(markup)
        if at - start <= 24 and _is_menu(markup[start:end]):
            out.append(markup[done:start])
            done = end + 1
    return ''.join([*out, markup[done:]]) if done else markup


def _numbered(markup):
    lists = [None]

    def write(found):
        tag = found.group()
        if tag.startswith('<li'):
            if lists[-1] is None:
                return '- '
            lists[-1] += 1
            return f'{lists[-1]}. '
        if tag[1] != '/':
            lists.append(0 if tag == '<ol>' else None)
        elif len(lists) > 1:
            lists.pop()
        return ''
    return _LIST.sub(write, markup)


def _is_menu(line):
    """Whether the line is links with hardly a word between them. Linked headings and formulas stay."""
    if len(line) - line.rfind('</a>') > 40:
        return False
    if line.startswith('<h') or '$' in line or '\\(' in line:
        return False
    return len(_LINK_OR_TAG.sub('', line).strip()) < 12 and len(_TAG.sub('', line)) < 200


def _unescaped(text):
    if '&' in text:
        text = _ENTITY.sub(lambda found: _CHARACTER[found.group(1)], text)
    return text.replace(NEWLINE, '\n') if NEWLINE in text else text


def _dollars(text, opening, closing):
    """'[tex]x[/tex]' -> '$x$'; an opening without its closing stays."""
    first, *rest = text.split(opening)
    out = [first]
    for part in rest:
        tex, end, after = part.partition(closing)
        out.append(f'${tex.strip()}${after}' if end else opening + part)
    return ''.join(out)


def _without_macros(text):
    """Text without the formulas that only define macros for MathJax."""
    out, done = [], 0
    for found in _FORMULA_OF_MACROS.finditer(text):
        if found.start() < done:
            continue
        end = text.find(_CLOSING[found.group(1)], found.end())
        if end < 0:
            break
        rest = _DEFINITION.sub('', text[found.end(1):end])
        out.append(text[done:end] if rest.strip() else text[done:found.start()])
        done = end if rest.strip() else end + len(found.group(1))
    return re.sub('\n{3,}', '\n\n', ''.join([*out, text[done:]])).strip()
