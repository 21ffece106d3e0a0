"""A formula in LaTeX as MathML, which browsers draw by themselves: latex2mathml's tree, checked and written anew.

Formulas are a model's words. Only commands, elements and attributes of the lists below get through; a formula with
anything else (macros, links, styles, colours, shifts that would cover other text) is left as it was written.
"""
import functools
import re
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert_to_element
from latex2mathml.symbols_parser import convert_symbol

from mathrl.report.markup import escape

MAX_CHARACTERS, MAX_ELEMENTS, MAX_DEPTH = 2000, 3000, 80
# Beside symbols: commands whose conversion takes time and space in proportion to their text.
COMMANDS = frozenset('''
    frac dfrac tfrac cfrac binom dbinom tbinom sqrt over choose overset underset stackrel overbrace underbrace substack
    overline underline overrightarrow overleftarrow vec hat bar tilde dot ddot check breve acute grave widehat widetilde
    left right middle big bigl bigm bigr Big Bigl Bigm Bigr bigg biggl biggm biggr Bigg Biggl Biggm Biggr begin end
    text textbf textit textrm textsf texttt textnormal mbox hbox mathrm mathbf mathit mathbb mathcal mathfrak mathscr
    mathsf mathtt boldsymbol bm bold rm bf it operatorname mathop mathbin mathrel limits nolimits boxed fbox cancel
    bcancel xcancel phantom xrightarrow xleftarrow mod bmod pmod pod not displaystyle textstyle scriptstyle quad qquad
    hline nonumber notag tag sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh coth log ln lg exp lim liminf
    limsup min max sup inf det gcd Pr arg dim ker deg hom
'''.split())
ENVIRONMENTS = frozenset('''
    align align* aligned gather gather* gathered equation equation* split array cases matrix pmatrix bmatrix Bmatrix
    vmatrix Vmatrix smallmatrix
'''.split())
ELEMENTS = frozenset('''
    math mrow mi mn mo mtext mspace mfrac msqrt mroot msub msup msubsup munder mover munderover mtable mtr mtd mstyle
    mpadded mphantom
'''.split())
CHILDREN = {'mfrac': 2, 'mroot': 2, 'msub': 2, 'msup': 2, 'munder': 2, 'mover': 2, 'msubsup': 3, 'munderover': 3}
_FLAG, _LENGTH = re.compile('true|false'), re.compile(r'\d(\.\d+)?(em|ex|px|pt)|0')
ATTRIBUTES = {
    **dict.fromkeys(('stretchy', 'fence', 'accent', 'movablelimits', 'displaystyle', 'largeop', 'separator'), _FLAG),
    **dict.fromkeys(('width', 'height', 'depth', 'lspace', 'rspace', 'minsize', 'maxsize'), _LENGTH),
    'linethickness': re.compile('0'), 'scriptlevel': re.compile('[012]'), 'display': re.compile('block|inline'),
    'form': re.compile('prefix|postfix'), 'mathvariant': re.compile('normal'),
}
# What browsers no longer draw by attribute, as classes of the page's style.
CLASSES = {
    ('notation', 'box'): 'boxed', ('notation', 'updiagonalstrike'): 'struck', ('notation', 'downdiagonalstrike'): 'struck',
    ('notation', 'updiagonalstrike downdiagonalstrike'): 'struck', ('columnalign', 'left'): 'to-left',
    ('columnalign', 'right'): 'to-right', ('mathvariant', 'bold'): 'bold', ('mathvariant', 'bold-italic'): 'bold',
    ('mathvariant', 'monospace'): 'typed',
}
# The delimiters of a matrix or binomial, in latex2mathml's references; it marks those that are not to grow.
FENCES = ('&#x00028;', '&#x00029;', '&#x0005B;', '&#x0005D;', '&#x0007B;', '&#x0007D;', '&#x0007C;', '&#x02016;')
STYLE = '''
math { font-size: 1.06em; font-family: "STIX Two Math", "Latin Modern Math", "Cambria Math", "DejaVu Math TeX Gyre", math; }
math .boxed { border: 1px solid currentColor; border-radius: 3px; padding: 3px 6px; }
math .struck { text-decoration: line-through; }
math .to-left { text-align: left; } math .to-right { text-align: right; }
math .bold { font-weight: bold; text-transform: none; } math .typed { font-family: var(--mono); text-transform: none; }
'''
# What latex2mathml does not know, or would number.
SAME_ENVIRONMENTS = {'align': 'align*', 'aligned': 'align*', 'gather': 'matrix', 'gather*': 'matrix', 'gathered': 'matrix'}
_COMMAND = re.compile(r'\\([a-zA-Z]+|.)', re.DOTALL)
_ENVIRONMENT = re.compile(r'\\(begin|end)\s*\{([^}]*)\}')
_REFERENCE = re.compile('&#x([0-9A-Fa-f]{1,6});')


@functools.lru_cache(maxsize=2**14)
def mathml(formula: str, block: bool = False) -> str | None:
    """'x^2' -> '<math display="inline"><mrow><msup>…'; None for what is to be shown as it was written."""
    if not formula.strip() or len(formula) > MAX_CHARACTERS or not _allowed(formula):
        return None
    formula = _ENVIRONMENT.sub(lambda m: f'\\{m[1]}{{{SAME_ENVIRONMENTS.get(m[2], m[2])}}}', formula)
    try:
        tree = convert_to_element(formula, display='block' if block else 'inline')
    # The library says by many types that it cannot read a formula: its own, StopIteration, IndexError, RecursionError.
    except Exception:
        return None
    if any(size > MAX_ELEMENTS for size, _ in enumerate(tree.iter())):
        return None
    return _written(tree)


def _allowed(formula: str) -> bool:
    commands = [name for name in _COMMAND.findall(formula) if name.isalpha() and name.isascii()]
    return (all(name in COMMANDS or convert_symbol('\\' + name) for name in commands)
            and all(name in ENVIRONMENTS for _, name in _ENVIRONMENT.findall(formula)))


def _written(element: Element, depth: int = 0) -> str | None:
    """None where an element is not on the list, nested too deep, short of a child, or a command that was not understood."""
    tag = 'mrow' if element.tag == 'menclose' else element.tag
    if tag not in ELEMENTS or depth > MAX_DEPTH or len(element) != CHILDREN.get(tag, len(element)):
        return None
    if tag in ('mi', 'mo') and (element.text or '').startswith('\\'):
        return None
    parts = [escape(_REFERENCE.sub(_character, element.text or ''))]
    for child in element:
        part = _written(child, depth + 1)
        if part is None:
            return None
        parts.append(part)
    return f'<{tag}{_attributes(element)}>{"".join(parts)}</{tag}>'


def _attributes(element: Element) -> str:
    kept = {name: value for name, value in element.attrib.items()
            if name in ATTRIBUTES and ATTRIBUTES[name].fullmatch(value)}
    if element.tag == 'mo' and element.text in FENCES and 'stretchy' not in kept:
        kept['stretchy'] = 'true'
    classes = [CLASSES[pair] for pair in element.attrib.items() if pair in CLASSES]
    if classes:
        kept['class'] = ' '.join(classes)
    return ''.join(f' {name}="{escape(value)}"' for name, value in kept.items())


def _character(reference: re.Match) -> str:
    """latex2mathml leaves characters as references in the text of its tree."""
    code = int(reference[1], 16)
    return chr(code) if code < 0x110000 else reference[0]
