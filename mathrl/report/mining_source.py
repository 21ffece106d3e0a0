"""What a mining report is made from: mining.json of a mining run, each field checked, and its configuration."""
import json
import math

from etils import epath

NUMBER = (int, float)
MAYBE = (int, float, type(None))   # null where there is nothing to measure, as the overlap of the first round
FLAG = (bool, int)

_HELD = {str: {'pages': NUMBER, 'tokens': NUMBER}}
_SAMPLES = [{'url': str, 'score': NUMBER, 'language': str, 'text': str}]
# A list holds rows of the one shape; a mapping under str holds values of the one shape under any name.
REQUIRED = {'pages': NUMBER, 'kept': NUMBER, 'tokens': NUMBER, 'corpus_bytes': NUMBER, 'seconds': NUMBER,
            'by_reason': {str: NUMBER}}
SECTIONS = {
    'by_detail': {str: {str: NUMBER}}, 'by_language': _HELD, 'by_snapshot': _HELD,
    'rounds': [{'round': NUMBER, 'seeds': NUMBER, 'positives': NUMBER, 'negatives': NUMBER, 'threshold': MAYBE,
                'threshold_rule': str, 'scored': NUMBER, 'collected': NUMBER, 'tokens': NUMBER, 'new': NUMBER,
                'overlap': MAYBE, 'math_domains': NUMBER, 'annotated_prefixes': NUMBER, 'new_seeds': NUMBER,
                'histogram': {'edges': [NUMBER], 'counts': [NUMBER]}, 'seconds': NUMBER, 'stopped': str}],
    'domains': [{'domain': str, 'pages': NUMBER, 'collected': NUMBER, 'share': NUMBER, 'math': FLAG}],
    'prefixes': [{'prefix': str, 'pages': NUMBER, 'collected': NUMBER, 'mean_score': MAYBE, 'math': FLAG,
                  'by': str}],
    'near_threshold': {'kept': _SAMPLES, 'rejected': _SAMPLES},
    'contaminated': [{'url': str, 'record_id': str, 'benchmark': str, 'ngram': str, 'excerpt': str}],
    'duplicates': {'url': NUMBER, 'content': NUMBER},
    'stages': [{'name': str, 'seconds': NUMBER, 'items': NUMBER}],
}


def read_mining(folder: epath.PathLike) -> dict:
    """mining.json of a folder, and under 'config' the text of its config.gin ('' where there is none).

    The keys of SECTIONS may be absent or empty; those of REQUIRED may not. ValueError where the file is absent, is
    not JSON, or holds something else than these shapes; the sentence names the field.
    """
    path = epath.Path(folder) / 'mining.json'
    if not path.exists():
        raise ValueError(f'{path} does not exist; the folder of a mining run was wanted')
    try:
        summary = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f'{path} is not the summary of a mining run ({error})') from error
    present = SECTIONS if not isinstance(summary, dict) else {
        key: shape for key, shape in SECTIONS.items() if summary.get(key)}
    fault = mismatch(summary, REQUIRED | present)
    if fault:
        raise ValueError(f'{path} is not the summary of a mining run: {fault}')
    config = path.parent / 'config.gin'
    return summary | {'config': config.read_text(encoding='utf-8') if config.exists() else ''}


def mismatch(value, shape, where: str = '') -> str:
    """The first place where a value does not have its shape, in words; '' if it has.

    mismatch({'a': ['x']}, {'a': [NUMBER]}) -> "a[0] is 'x'; a number was wanted"
    """
    if isinstance(shape, (list, dict)):
        wanted = 'a list' if isinstance(shape, list) else 'an object'
        if not isinstance(value, type(shape)):
            return f'{where or "it"} is {str(value)[:60]!r}; {wanted} was wanted'
        missing = [] if isinstance(shape, list) else [key for key in shape if key is not str and key not in value]
        if missing:
            return f'{where or "it"} has no {missing[0]!r}; it needs {", ".join(key for key in shape)}'
        return next(filter(None, (mismatch(*part) for part in _parts(value, shape, where))), '')
    number = isinstance(value, (int, float)) and math.isfinite(value)
    if not isinstance(value, shape) or isinstance(value, bool) and bool not in shape or (
            isinstance(value, float) and not number):
        return f'{where} is {str(value)[:60]!r}; {"text" if shape is str else "a number"} was wanted'
    return ''


def _parts(value, shape, where: str):
    if isinstance(shape, list):
        return [(item, shape[0], f'{where}[{index}]') for index, item in enumerate(value)]
    dot = f'{where}.' if where else ''
    if str in shape:
        return [(item, shape[str], f'{dot}{key}') for key, item in value.items()]
    return [(value[key], inner, f'{dot}{key}') for key, inner in shape.items()]
