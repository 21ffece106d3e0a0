"""The answer that an output gives: what stands in its last box, or what its answer sentence says."""
import re

_BOX = re.compile(r'\\(?:boxed|fbox)\s*\{')
_BARE_BOX = re.compile(r'\\(?:boxed|fbox)\s*(?:\$\s*)?([0-9]+(?:\.[0-9]+)?|[A-Za-z](?![A-Za-z]))')
# An escaped character is passed over as a pair, so that '\{' opens nothing and '\\}' closes.
_BRACE = re.compile(r'\\.|[{}]', re.DOTALL)
# What may stand between two boxes that make one answer.
_BETWEEN = re.compile(r'(?:\s|\\[()\[\],;]|[$,;、，；]|\\q?quad|\\text\{\s*(?:and|or|,|和|或)\s*\}|and|or|和|或|与|及'
                      r'|\bx\b|\by\b|=|\*\*)*')
MAX_JOINED, MAX_BETWEEN = 24, 60


def boxed(output: str) -> str | None:
    """Content of the last \\boxed{...} or \\fbox{...}; None where there is none, or it is empty or unclosed.

    'so \\boxed{\\frac{1}{2}}.' -> '\\frac{1}{2}'. An output cut off inside its last box has not answered. Boxes that
    only 'and', 'or' or a comma parts are one answer, '\\boxed{1} or \\boxed{2}' -> '1, 2'; a repeated one counts once.
    """
    boxes = _last_boxes(output)
    if not boxes or boxes[-1] is None:
        return None
    return ', '.join(dict.fromkeys(filter(None, boxes))) or None


def lenient_boxed(output: str) -> str | None:
    """As boxed, but a box may lack its end, '\\boxed{5', or its braces, '\\boxed 5'; empty ones are passed over."""
    content = boxed(output)
    if content is not None:
        return content
    starts = [box.end() for box in _BOX.finditer(output)]
    bare = list(_BARE_BOX.finditer(output))
    if bare and (not starts or bare[-1].start() > starts[-1]):
        return bare[-1][1]
    for start in starts[:-MAX_JOINED:-1]:
        end = _closing_brace(output, start)
        content = output[start:].split('\n')[0].rstrip('$. \\])') if end is None else output[start:end]
        if content.strip():
            return content.strip()
    return None


def _last_boxes(output: str) -> list[str | None]:
    """Contents of the last box and of those joined to it, in order; None in place of one that is unclosed."""
    starts = [(box.start(), box.end()) for box in _BOX.finditer(output)]
    found, following = [], None
    for start, inside in reversed(starts[-MAX_JOINED:]):
        end = _closing_brace(output, inside)
        if following is not None and (end is None or not end < following <= end + MAX_BETWEEN
                                      or not _BETWEEN.fullmatch(output, end + 1, following)):
            break
        found.append(None if end is None else output[inside:end].strip() or None)
        if end is None:
            break
        following = start
    return found[::-1]


def _closing_brace(text: str, start: int) -> int | None:
    depth = 1
    for match in _BRACE.finditer(text, start):
        if match.group() in ('{', '}'):
            depth += 1 if match.group() == '{' else -1
        if depth == 0:
            return match.start()
    return None
