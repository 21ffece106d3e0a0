"""MathML without a TeX annotation, written as LaTeX.

One pass over the tags with a stack of our own, so nesting of any depth costs neither recursion nor a second parse.
Presentation markup only; content markup (<apply>) comes out as its leaves."""
import html
import re

_TAG = re.compile(r'<(/?)(?:\w{1,8}:)?([a-zA-Z]\w*+)([^<>]*+)>|([^<]++)')
_NAMES = r'''
    α alpha β beta γ gamma δ delta ϵ epsilon ε varepsilon ζ zeta η eta θ theta ϑ vartheta ι iota κ kappa
    λ lambda μ mu µ mu ν nu ξ xi π pi ϖ varpi ρ rho ϱ varrho σ sigma ς varsigma τ tau υ upsilon ϕ phi φ varphi
    χ chi ψ psi ω omega Γ Gamma Δ Delta Θ Theta Λ Lambda Ξ Xi Π Pi Σ Sigma Υ Upsilon Φ Phi Ψ Psi Ω Omega ∑ sum
    ∏ prod ∐ coprod ∫ int ∬ iint ∭ iiint ∮ oint ⋃ bigcup ⋂ bigcap ⨁ bigoplus ⨂ bigotimes ⋁ bigvee ⋀ bigwedge
    ≤ le ≥ ge ⩽ leqslant ⩾ geqslant ≠ ne ≈ approx ≡ equiv ∼ sim ≃ simeq ≅ cong ∝ propto ≪ ll ≫ gg ≺ prec ≻ succ
    ∈ in ∉ notin ∋ ni ⊂ subset ⊆ subseteq ⊃ supset ⊇ supseteq ∪ cup ∩ cap ∖ setminus ∅ emptyset ± pm ∓ mp
    × times ÷ div · cdot ⋅ cdot ∗ ast ∘ circ ∙ bullet ⊕ oplus ⊗ otimes ⊙ odot ∧ wedge ∨ vee ¬ neg ∀ forall
    ∃ exists ⊥ perp ∥ parallel ∣ mid ∤ nmid → to ⟶ longrightarrow ← leftarrow ↔ leftrightarrow ⇒ Rightarrow
    ⟹ Longrightarrow ⇐ Leftarrow ⇔ Leftrightarrow ⟺ iff ↦ mapsto ↪ hookrightarrow ⊢ vdash ⊨ models ∞ infty
    ∂ partial ∇ nabla ℓ ell ℏ hbar ℵ aleph ∠ angle △ triangle … ldots ⋯ cdots ⋮ vdots ⋱ ddots ⟨ langle ⟩ rangle
    〈 langle 〉 rangle ⌊ lfloor ⌋ rfloor ⌈ lceil ⌉ rceil ‖ | { { } } % % & & # # $ $ ℝ mathbb{R} ℤ mathbb{Z}
    ℕ mathbb{N} ℚ mathbb{Q} ℂ mathbb{C} ℙ mathbb{P} ∎ blacksquare
'''.split()
_CHARS = dict(zip(_NAMES[::2], _NAMES[1::2]))
_SYMBOLS = str.maketrans({c: f'\\{name}{" " if name[-1].isalpha() else ""}' for c, name in _CHARS.items()}
                         | {'−': '-', '′': "'", '″': "''", '\\': r'\backslash ', '\xa0': ' '}
                         | dict.fromkeys('\u2061\u2062\u2063\u2064\u200b', ''))
_TEXT = str.maketrans({c: '\\' + c for c in '{}%&#$_'} | {'\\': r'\textbackslash ', '\xa0': ' '})
_FUNCTIONS = frozenset('sin cos tan cot sec csc log ln exp lim max min det sup inf gcd dim ker deg arg sinh cosh tanh '
                       'arcsin arccos arctan'.split())
_OVER = {'¯': 'overline', '‾': 'overline', '_': 'overline', '^': 'hat', '̂': 'hat', 'ˆ': 'hat', '~': 'tilde', '˜': 'tilde',
         '→': 'vec',
         '⃗': 'vec', '˙': 'dot', '.': 'dot', '¨': 'ddot', 'ˇ': 'check', '⏞': 'overbrace', '︷': 'overbrace'}
_UNDER = {'_': 'underline', '̲': 'underline', '¯': 'underline', '⏟': 'underbrace', '︸': 'underbrace'}
_FONTS = {'bold': 'mathbf', 'double-struck': 'mathbb', 'script': 'mathcal', 'fraktur': 'mathfrak'}
_VARIANT = re.compile(r'mathvariant\s*=\s*["\']?(bold|double-struck|script|fraktur)')
_WITH_LIMITS = re.compile(r'\\(?:sum|prod|coprod|lim|max|min|sup|inf|big\w+|i*int|oint|(?:over|under)brace\{.*\})', re.S)
_FENCES = re.compile(r'(open|close|separators)\s*=\s*(?:"([^"]*)"|\'([^\']*)\')')
_DEEPEST = 200  # each level copies what is in it; deeper markup is no formula and comes out as its bare text
_LEAVES = frozenset(('mi', 'mn', 'mo', 'mtext', 'ms', 'ci', 'cn', 'csymbol'))
_EMPTY = frozenset(('none', 'mprescripts', 'mspace', 'maligngroup', 'malignmark'))
_IGNORED = frozenset(('annotation', 'annotation-xml', 'mglyph'))


def mathml_to_latex(source: str) -> str:
    """LaTeX, without delimiters, of one <math> element given as HTML source.

    '<math><mfrac><mn>1</mn><msup><mi>x</mi><mn>2</mn></msup></mfrac></math>' -> r'\\frac{1}{x^{2}}'. Unclosed and stray
    tags are taken as they come; nothing raises."""
    if '<!--' in source:
        first, *rest = source.split('<!--')
        source = first + ''.join(part.partition('-->')[2] for part in rest)
    stack = [('math', '', [])]
    for closing, tag, attributes, text in _TAG.findall(source):
        if text:
            if stack[-1][0] in _LEAVES:
                stack[-1][2].append(html.unescape(text))
        elif closing:
            if len(stack) > 1 and stack[-1][0] == tag.lower():
                _close(stack)
        elif attributes.endswith('/') or tag.lower() in _EMPTY:
            stack[-1][2].append(_write(tag.lower(), attributes, []))
        else:
            stack.append((tag.lower(), attributes, []))
            if len(stack) > _DEEPEST:
                return ' '.join(html.unescape(re.sub(r'<[^<>]*+>', ' ', source)).split())
    while len(stack) > 1:
        _close(stack)
    return re.sub(r'\s+', ' ', _join(stack[0][2])).strip()


def _close(stack):
    tag, attributes, parts = stack.pop()
    stack[-1][2].append(_write(tag, attributes, parts))


def _write(tag, attributes, parts):
    if tag in _LEAVES:
        return _leaf(tag, attributes, ''.join(parts).strip())
    if tag in _IGNORED:
        return ''
    writer = _WRITERS.get(tag)
    return writer(attributes, parts) if writer else _join(parts)


def _leaf(tag, attributes, text):
    if tag in ('mtext', 'ms'):
        return f'\\text{{{text.translate(_TEXT)}}}' if text.strip() else ' '
    if tag in ('mi', 'mo', 'ci') and len(text) > 1 and text.isascii() and text.isalpha():
        if text in _FUNCTIONS:
            return f'\\{text} '
        return f'\\operatorname{{{text}}}' if tag == 'mo' else f'\\mathrm{{{text}}}'
    if re.fullmatch(r'\\[A-Za-z]+', text):  # a command that the site's converter did not know
        return text + ' '
    text = text.translate(_SYMBOLS)
    font = _VARIANT.search(attributes) if tag == 'mi' else None
    if font and '\\' not in text and text:
        return f'\\{_FONTS[font.group(1)]}{{{text}}}'
    return text


def _join(parts):
    return ''.join(parts)


def _group(part):
    return f'{{{part.strip()}}}'


def _base(part):
    part = part.strip()
    return part if len(part) <= 1 or re.fullmatch(r'\\[A-Za-z]+', part) else f'{{{part}}}'


def _filled(parts, n):
    """n arguments, whatever broken markup gives: the last takes what is left over, missing ones are empty."""
    return [*parts[:n - 1], _join(parts[n - 1:])] if len(parts) >= n else parts + [''] * (n - len(parts))


def _script(*marks):
    def write(_, parts):
        base, *scripts = _filled(parts, 1 + len(marks))
        return _base(base) + ''.join(mark + _group(s) for mark, s in zip(marks, scripts) if s.strip()) + ' '
    return write


def _accented(accents, mark):
    def write(_, parts):
        base, accent = _filled(parts, 2)
        raw = accent.strip()
        name = accents.get({r'\to': '→', r'\rightarrow': '→', r'\_': '_'}.get(raw, raw))
        if name:
            return f'\\{name}{_group(base)}'
        if _WITH_LIMITS.fullmatch(base.strip()):
            return f'{base.strip()}{mark}{_group(accent)} '
        return f'\\mathop{_group(base)}_{_group(accent)} ' if mark == '_' else f'\\overset{_group(accent)}{_group(base)}'
    return write


def _underover(_, parts):
    base, under, over = _filled(parts, 3)
    return f'{_base(base)}_{_group(under)}^{_group(over)} '


def _fraction(attributes, parts):
    above, below = _filled(parts, 2)
    if re.search(r'linethickness\s*=\s*["\']?0', attributes):
        return f'{{{above.strip()} \\atop {below.strip()}}}'
    return f'\\frac{_group(above)}{_group(below)}'


def _root(_, parts):
    radicand, index = _filled(parts, 2)
    return f'\\sqrt[{index.strip()}]{_group(radicand)}'


def _fenced(attributes, parts):
    given = {name: html.unescape(a or b) for name, a, b in _FENCES.findall(attributes)}
    left, right = ((given.get(*side) or '.').translate(_SYMBOLS) for side in (('open', '('), ('close', ')')))
    separator = (given.get('separators', ',').strip() or ' ')[0]
    return f'\\left{left}{separator.join(p for p in parts if p.strip())}\\right{right}'


def _table(_, parts):
    return f'\\begin{{matrix}}{" ".join(parts).strip().removesuffix(chr(92) * 2).strip()}\\end{{matrix}}'


def _multiscripts(_, parts):
    base, *scripts = parts or ['']
    return _base(base) + ''.join(mark + _group(s) for mark, s in zip('_^' * len(scripts), scripts) if s.strip()) + ' '


_WRITERS = {
    'msub': _script('_'), 'msup': _script('^'), 'msubsup': _script('_', '^'), 'munderover': _underover, 'mfrac': _fraction,
    'munder': _accented(_UNDER, '_'), 'mover': _accented(_OVER, '^'), 'mroot': _root, 'mfenced': _fenced,
    'msqrt': lambda _, parts: f'\\sqrt{_group(_join(parts))}', 'mphantom': lambda _, parts: f'\\phantom{_group(_join(parts))}',
    'mspace': lambda *_: ' ', 'mtable': _table, 'mtr': lambda _, cells: ' & '.join(c.strip() for c in cells if c) + r' \\',
    'mlabeledtr': lambda _, cells: ' & '.join(c.strip() for c in cells[1:] if c) + r' \\', 'mtd': lambda _, parts: _join(parts) or ' ',
    'mmultiscripts': _multiscripts,
    'menclose': lambda attributes, parts: f'\\{"sqrt" if "radical" in attributes else "boxed" if "box" in attributes else "overline"}'
                                          f'{_group(_join(parts))}',
}
