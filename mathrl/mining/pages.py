"""One WARC as rows of text: the first stage, and the reading of its rows with the duplicates left out.

A row is {record_id, url, date, text, language} of a page, or, of what is no page, {record_id, url, date, reason,
detail}: a bad record, one that took too long, an error page, one with too little text.
"""
import collections
import dataclasses
import functools
import json
from collections.abc import Iterable, Iterator

from etils import epath

from mathrl.mining import features, stages, warc
from mathrl.mining.extract import page_text
from mathrl.mining.isolation import guarded
from mathrl.mining.stages import Stage

BAD_RECORD, TIMEOUT, TOO_SHORT = 'bad_record', 'timeout', 'too_short'
BYTES_PER_TOKEN = 4


@dataclasses.dataclass(frozen=True)
class Extraction:
    """seconds: what one page may take before it is abandoned. max_bytes: a larger page is a bad record.

    min_characters: a page with fewer characters of text (white space aside) is too short.
    memory_bytes: what the process that extracts may take; a page that makes it take more is abandoned.
    """
    seconds: float = 10.0
    max_bytes: int = 10_000_000
    min_characters: int = 40
    memory_bytes: int = 4_000_000_000


def token_count(text: str) -> int:
    """An estimate, as no tokenizer is at hand: UTF-8 bytes / 4, about right for English and for Chinese."""
    return -(-len(text.encode('utf-8', 'replace')) // BYTES_PER_TOKEN)


def row(item: warc.Page | warc.Fault, settings: Extraction) -> dict:
    """The row of a record; whatever extraction says against the page becomes its detail."""
    known = {'record_id': item.record_id, 'url': item.url}
    if isinstance(item, warc.Fault):
        return known | {'date': '', 'reason': BAD_RECORD, 'detail': item.detail}
    known['date'] = item.date
    if item.status not in (0, 200):
        return known | {'reason': BAD_RECORD, 'detail': f'HTTP status {item.status}'}
    try:
        text = page_text(item.html, item.charset)
    except ValueError as error:
        return known | {'reason': BAD_RECORD, 'detail': str(error)}
    if _characters(text, settings.min_characters) < settings.min_characters:
        return known | {'reason': TOO_SHORT, 'detail': f'fewer than {settings.min_characters} characters'}
    return known | {'text': text, 'language': features.language(text)}


def _characters(text: str, enough: int) -> int:
    """Characters that are no white space; where the beginning holds enough of them, those alone."""
    found = sum(map(len, text[:4 * enough].split()))
    return found if found >= enough else sum(map(len, text.split()))


def extract_warc(shard: int, *, addresses_path: str, stage: Stage, settings: Extraction) -> None:
    """Writes the shard's rows; pages that hang or crash are abandoned alone, in a process of their own."""
    address = addresses(addresses_path)[shard]
    make = functools.partial(_rows, address, settings)
    lost = functools.partial(_lost, address, settings)
    rows = guarded(make, seconds=settings.seconds, memory_bytes=settings.memory_bytes, lost=lost)
    counted = collections.Counter()
    stages.write_rows(stage.path(shard), _counted(rows, counted))
    stages.write_text(stage.path(shard, 'counts.json'), json.dumps(counted))


def _counted(rows: Iterator[dict], counted: collections.Counter) -> Iterator[dict]:
    for one in rows:
        counted['pages' if 'text' in one else one['reason']] += 1
        yield one


def count(stage: Stage, shards: Iterable[int]) -> dict[str, int]:
    """{pages: with text, <reason>: of the others} of all shards."""
    counted = collections.Counter()
    for shard in shards:
        counted.update(json.loads(stage.path(shard, 'counts.json').read_text()))
    return dict(counted)


def _rows(address: str, settings: Extraction, after: int | None) -> Iterator[int | dict]:
    """For `isolation.guarded`: the place of each record, then its row."""
    for item in warc.read_warc(address, after or 0, settings.max_bytes):
        if item.offset != after:   # that one is over
            yield item.offset
            yield row(item, settings)


def _lost(address: str, settings: Extraction, offset: int, why: str) -> dict:
    """The row of a record that was abandoned."""
    item = next(warc.read_warc(address, offset, settings.max_bytes))
    detail = f'more than {settings.seconds:g} s' if why == 'timeout' else f'the extractor ended: {why}'
    return {'record_id': item.record_id, 'url': item.url, 'date': getattr(item, 'date', ''),
            'reason': TIMEOUT if why == 'timeout' else BAD_RECORD, 'detail': detail}


def write_addresses(path, addresses: list[str]) -> None:
    stages.write_text(path, '\n'.join(addresses) + '\n')


@functools.lru_cache(maxsize=2)
def addresses(path: str) -> list[str]:
    """The sorted list of WARCs, once a process; a shard is a place in it."""
    return epath.Path(path).read_text().splitlines()
