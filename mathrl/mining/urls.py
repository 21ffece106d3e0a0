"""URLs as keys: one key for all spellings of a page, its domain, and its prefixes, which a person annotates."""
import re
from typing import NamedTuple
from urllib.parse import quote

_URL = re.compile(r'(?:(?P<scheme>https?):(?=//))?(?://)?(?P<host>[^/?#\\]*)(?P<path>[^?#]*)'
                  r'(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?', re.IGNORECASE | re.DOTALL)
_AUTHORITY = re.compile(r'(?P<user>[^@]*@)?(?P<host>[\w.-]+|\[[\da-f:.]+\])(?::(?P<port>\d*))?', re.IGNORECASE)
_KNOWN_HOST = re.compile(r'.*\.[\w-]*[^\W\d][\w-]*|localhost|\d{1,3}(?:\.\d{1,3}){3}|\[.*\]')
_INDEX = re.compile(r'index\.(?:[sx]?html?|php\d?|aspx?|jsp|cgi)|default\.(?:aspx?|html?)', re.IGNORECASE)
_SESSION_IN_PATH = re.compile(r';(?:jsessionid|phpsessid)=[^/;]*', re.IGNORECASE)
_UNWANTED = re.compile(
    r'(?:utm_\w+|mtm_\w+|pk_(?:campaign|kwd|source|medium|content)|hsa_\w+|__?hs\w+|mc_[ce]id|mkt_tok|'
    r'oly_\w+_id|(?:fb|g|dc|tw|yc|ms|tt|irg|ad)clid|gclsrc|gad_\w+|wbraid|gbraid|'
    r'fb_(?:action|source|ref)\w*|igshid?|_ga|_gl|'
    r'__twitter_impression|ref_(?:src|url)|wt_mc|s_cid|ncid|cmpid|ocid|xtor|'
    r'vero_\w+|spm|share_token|replytocom|'
    r'phpsessid|jsessionid|aspsessionid\w*|asp\.net_sessionid|cftoken|zenid|oscsid)(?:=.*)?'
    r'|(?:s|sid|sess(?:ion)?_?id)=[\da-f-]{20,}',   # s=algebra is a search, session_id=5 one of a conference
    re.IGNORECASE | re.DOTALL)
_ESCAPE = re.compile(r'%[\da-f]{2}|%|[^\x21-\x7e]+|["<>\\^`{|}]', re.IGNORECASE)
_UNRESERVED = re.compile(r'[\w.~-]', re.ASCII)


class _Parts(NamedTuple):
    host: str
    port: str
    segments: list[str]
    folder: bool
    query: str
    fragment: str


def normalize(url: str) -> str:
    """The key of a URL: two URLs of one key are taken for one page. Never raises; its own keys stay as they are.

        'HTTP://www.Example.org:80/a/../b/index.html?utm_source=x&p=2&a=%7e#top' -> 'example.org/b?a=~&p=2'

    Dropped: scheme (http and https are one site), `www.`, default ports, user, index pages, the last slash,
    doubled slashes, dot segments, fragments but `#!` (there a script shows another page), empty queries,
    parameters that track or number a session. Parameters are sorted by name; equal names keep their order. Kept:
    the case of the path, other ports, `m.` and all other hosts. Dropping `www.` and the last slash can be wrong
    (www.x and x may be two sites), but is so far less often than the two spellings are one page. What is no http
    URL ('mailto:x', 'two words') comes back stripped.
    """
    parts = _split(url)
    if parts is None:
        return url.strip()
    query = '?' + parts.query if parts.query else ''
    return '/'.join([parts.host + parts.port, *parts.segments]) + query + parts.fragment


def domain(url: str) -> str:
    """The "same base URL" of the paper: the whole host without `www.` and port; '' of what is no URL.

        'https://www.mathoverflow.net/questions/1' -> 'mathoverflow.net'; two users of github.io are two domains
    """
    parts = _split(url)
    return parts.host if parts else ''


def prefixes(url: str, depth: int = 3) -> list[str]:
    """Host and folders above the page, at most `depth`; a page that is a folder itself (last slash) counts as one.

        'https://mathoverflow.net/questions/12/on-groups?sort=new' ->
        ['mathoverflow.net', 'mathoverflow.net/questions', 'mathoverflow.net/questions/12']
    """
    parts = _split(url)
    if parts is None:
        return []
    folders = parts.segments if parts.folder else parts.segments[:-1]
    names = [parts.host + parts.port, *folders][:depth]
    return ['/'.join(names[:i + 1]) for i in range(len(names))]


def _split(url: str) -> _Parts | None:
    match = _URL.fullmatch(re.sub(r'[\t\r\n]', '', url.strip().strip('<>').strip()))
    authority = _AUTHORITY.fullmatch(match['host'])
    if authority is None or len(match['host']) > 255:
        return None
    host = _host(authority['host'])
    if not match['scheme'] and (authority['user'] or not _KNOWN_HOST.fullmatch(host)):
        return None   # 'mailto:me@x.org', 'word': without a scheme only what looks like a host is one
    port = authority['port'] or ''
    segments, folder = _segments(match['path'])
    fragment = match['fragment'] or ''
    return _Parts(host, f':{port}' if port not in ('', '80', '443') else '', segments, folder,
                  _query(match['query'] or ''), '#' + _escape(fragment) if re.match('!.', fragment) else '')


def _host(host: str) -> str:
    host = host.strip('.').lower()
    if not host.isascii():
        try:
            host = host.encode('idna').decode('ascii')
        except UnicodeError:   # longer than DNS allows, or characters no name may have
            pass
    while host.startswith('www.') and '.' in host[4:]:   # not www.com
        host = host[4:].strip('.')
    return host


def _segments(path: str) -> tuple[list[str], bool]:
    """'/a/./b/../c/index.html' -> (['a', 'c'], True); the second tells whether the page is a folder."""
    segments = []
    names = _escape(_SESSION_IN_PATH.sub('', path)).split('/')
    for name in names:
        if name == '..':
            del segments[-1:]
        elif name not in ('', '.'):
            segments.append(name)
    folder = names[-1] in ('', '.', '..')
    while segments and _INDEX.fullmatch(segments[-1]):
        segments.pop()
        folder = True
    return segments, folder


def _query(query: str) -> str:
    parameters = [p for p in _escape(query).replace('%20', '+').split('&') if p and not _UNWANTED.fullmatch(p)]
    return '&'.join(sorted(parameters, key=lambda parameter: parameter.partition('=')[0]))


def _escape(text: str) -> str:
    """One spelling of percent signs: '%7e%c3%a9 \u00e9%' -> '~%C3%A9%20%C3%A9%25'."""
    return _ESCAPE.sub(_escape_one, text)


def _escape_one(match: re.Match) -> str:
    found = match[0]
    if found[0] == '%' and len(found) == 3:
        character = chr(int(found[1:], 16))
        return character if _UNRESERVED.fullmatch(character) else found.upper()
    return quote(found, safe='', errors='surrogatepass')
