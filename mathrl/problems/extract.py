"""The answer that an output gives: what stands in its last box. No box is no answer."""
import re

_BOX = re.compile(r'\\(?:boxed|fbox)\s*\{')
# An escaped character is passed over as a pair, so that '\{' opens nothing and '\\}' closes.
_BRACE = re.compile(r'\\.|[{}]', re.DOTALL)


def boxed(output: str) -> str | None:
    """Content of the last \\boxed{...} or \\fbox{...}; None where there is none, or it is empty or unclosed.

    'so \\boxed{\\frac{1}{2}}.' -> '\\frac{1}{2}'. An output cut off inside its last box has not answered.
    """
    start = None
    for box in _BOX.finditer(output):
        start = box.end()
    if start is None:
        return None
    end = _closing_brace(output, start)
    return None if end is None else output[start:end].strip() or None


def _closing_brace(text: str, start: int) -> int | None:
    depth = 1
    for match in _BRACE.finditer(text, start):
        if match.group() in ('{', '}'):
            depth += 1 if match.group() == '{' else -1
        if depth == 0:
            return match.start()
    return None
