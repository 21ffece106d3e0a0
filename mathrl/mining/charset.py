"""Bytes of a page to text, whatever it says its encoding is.

BOM, then what the bytes themselves prove (multi-byte UTF-8 is not chance), then the HTTP header, then <meta>, then
detection. A declared charset under which the bytes are malformed is overruled."""
import codecs
import re

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

_BOMS = ((codecs.BOM_UTF8, 'utf-8'), (codecs.BOM_UTF32_LE, 'utf-32-le'), (codecs.BOM_UTF32_BE, 'utf-32-be'),
         (codecs.BOM_UTF16_LE, 'utf-16-le'), (codecs.BOM_UTF16_BE, 'utf-16-be'))
_META = re.compile(rb'<meta\b[^<>]{0,300}?charset\s*=\s*["\']?\s*([\w.:-]{2,40})'
                   rb'|<\?xml[^<>]{0,100}?encoding\s*=\s*["\']([\w.:-]{2,40})', re.I)
# Labels mean their supersets, as in browsers; the left side is Python's canonical name.
_WIDER = {'gb2312': 'gb18030', 'gbk': 'gb18030', 'hz': 'gb18030', 'euc_kr': 'cp949', 'shift_jis': 'cp932',
          'big5': 'big5hkscs', 'ascii': 'cp1252',
          'iso8859-1': 'cp1252', 'iso8859-9': 'cp1254', 'tis-620': 'cp874', 'iso8859-11': 'cp874'}
_MULTIBYTE = frozenset(('gb18030', 'big5hkscs', 'cp932', 'cp949', 'euc_jp', 'utf-8'))
_HIGH = bytes(range(0x80, 0x100))
_HEAD, _SAMPLE = 4096, 1 << 16


def decode(body: bytes, charset: str = '', start: int = 0) -> str:
    """The text of body[start:]; `charset` is what the HTTP header said ('' if nothing).

    Never raises, never yields a surrogate. Malformed bytes become U+FFFD; NUL characters go. decode('中文'.encode('gbk'), 'utf-8') -> '中文'."""
    for bom, name in _BOMS:
        if body.startswith(bom):
            return body[max(start, len(bom)):].decode(name, 'replace').replace('\0', '')
    rest = memoryview(body)[start:]
    has_nul = b'\0' in body
    if has_nul and (wide := _utf16(body)):
        return str(rest, wide, 'replace').replace('\0', '')
    if b'\x1b' in body and b'\x1b$' in body and body.isascii():
        return str(rest, 'iso2022_jp', 'replace')
    try:
        text = str(rest, 'utf-8')
    except UnicodeDecodeError as e:
        text = str(rest, _legacy(body, charset, start + e.start), 'replace')
    return text.replace('\0', '') if has_nul else text


def _legacy(body, charset, first):
    """The encoding of bytes that are not valid UTF-8; `first` is where they stop being so."""
    meta = _META.search(body, 0, _HEAD)
    declared = [_known(charset), _known((meta.group(1) or meta.group(2)).decode('ascii')) if meta else '']
    sample = body[max(0, first - 256):first + _SAMPLE]
    high = len(sample) - len(sample.translate(None, _HIGH))
    for name in filter(None, declared):
        if _plausible(sample, high, name):
            return name
    if _plausible(sample, high, 'utf-8'):
        return 'utf-8'
    guess = _detected(sample)
    return guess if guess and _plausible(sample, high, guess) else 'cp1252'


def _detected(sample):
    """Detection's answer. It calls Korean UTF-8, so Korean is told by its syllables."""
    guess = _known(detect_encoding(sample))
    if guess != 'utf-8':
        return guess
    letters = [c for c in sample.decode('cp949', 'replace') if c > '\x7f']
    return 'cp949' if sum('\uac00' <= c <= '\ud7a3' for c in letters) * 2 > len(letters) else ''


def _utf16(body):
    """UTF-16 without a BOM: half of a page's markup is NUL, all on one side; '' where it is not that."""
    head = body[:_HEAD]
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) * 4 < len(head) or min(even, odd) * 8 > max(even, odd):
        return ''
    return 'utf-16-le' if odd > even else 'utf-16-be'


def _known(name):
    """Python's name for a charset label, widened as browsers do; '' for one that nobody knows, and for UTF-16."""
    name = (name or '').strip().strip('"\'').lower()
    for label in (name, map_encoding_to_html5(name, False) if name else None):
        try:
            found = codecs.lookup(label)._is_text_encoding and codecs.lookup(label).name if label else ''
        except (LookupError, ValueError):
            continue
        if found and not found.startswith(('utf-16', 'utf-32', 'utf-7', 'idna', 'punycode', 'unicode', 'raw')):
            return _WIDER.get(found, found)
    return ''


def _plausible(sample, high, name):
    """Whether bytes that are not valid UTF-8 may be `name`: spoiled in a few places they still may."""
    bad = sample.decode(name, 'replace').count('\ufffd')
    if name == 'utf-8':
        return bad * 20 <= high
    if name in _MULTIBYTE:
        return bad <= 2 + high // 100
    return bad <= 2 + high // 50 and not _of_another_script(sample, high, name)


def _of_another_script(sample, high, name):
    """Whether bytes declared single-byte are not so.

    Detection sees a double-byte encoding; or, as a server's default header says ISO-8859-1 of everything, another
    alphabet than the Western, whose high bytes stand in runs."""
    guess = _detected(sample) if high >= 20 else ''
    runs = re.findall(rb'[\x80-\xff]+', sample)
    in_runs = sum(len(run) > 1 for run in runs) * 2 > len(runs)
    return guess in _MULTIBYTE or name == 'cp1252' and guess not in ('', name) and in_runs
