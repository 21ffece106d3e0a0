"""Which sites are mathematics: the table a person reviews, what he or she writes into it, and the rule without one.

A domain is reviewed if more than a tenth of its pages were collected (the paper's rule). Its URL prefixes are then
judged: by a person, in annotations.tsv, or, unattended, by this rule: a prefix is mathematics if at least
`prefix_share` of its pages, and at least `min_pages` of them, were collected, and of no folder below it (with so many
pages) less than a tenth; of nested ones the shortest counts.
"""
import collections
import csv
import functools
import io
from collections.abc import Iterable, Iterator

from etils import epath

from mathrl.mining import stages, urls

COLUMNS = ('domain', 'pages', 'share', 'prefix', 'prefix_pages', 'prefix_share', 'prefix_score', 'math')
BEST_PREFIXES = 100   # of a domain, by pages collected and then by pages
FOLDER_SHARE = 0.1   # as the paper's for a domain: /history under a site of theorems is no mathematics
SCORE_UNIT = 1_000_000   # scores are summed as whole millionths: sums of floats depend on their order


def count_shard(rows: Iterable[tuple[str, float, bool]]) -> Iterator[tuple[str, list]]:
    """(url, score, collected) of a shard's pages -> (domain, [(prefix, pages, collected, score sum)...])."""
    domains = collections.defaultdict(lambda: collections.defaultdict(lambda: [0, 0, 0]))
    for url, score, collected in rows:
        for prefix in urls.prefixes(url):
            sums = domains[urls.domain(url)][prefix]
            sums[0] += 1
            sums[1] += collected
            sums[2] += round(score * SCORE_UNIT)
    for domain, prefixes in domains.items():
        yield domain, [(prefix, *sums) for prefix, sums in prefixes.items()]


def review_row(domain: str, counted: Iterable[list], domain_share: float) -> list | None:
    """[domain, pages, collected, [(prefix, pages, collected, mean score)...]], or None where too few were collected."""
    sums = collections.defaultdict(lambda: [0, 0, 0])
    for part in counted:
        for prefix, *values in part:
            sums[prefix] = [a + b for a, b in zip(sums[prefix], values)]
    pages, collected = (sum(sums[prefix][i] for prefix in sums if '/' not in prefix) for i in (0, 1))
    if collected <= domain_share * pages:
        return None
    best = sorted(sums.items(), key=lambda item: (-item[1][1], -item[1][0], len(item[0]), item[0]))[:BEST_PREFIXES]
    return [domain, pages, collected, [(prefix, n, m, round(total / n / SCORE_UNIT, 4)) for prefix, (n, m, total) in best]]


def decide(row: list, prefix_share: float, min_pages: int) -> dict[str, int]:
    """prefix -> 1 (mathematics) or 0, by the rule; what lies below a prefix of mathematics is not listed."""
    decided = {}
    for prefix, pages, collected, _ in sorted(row[3], key=lambda item: (item[0].count('/'), item[0])):
        if not any(decided.get(parent) for parent in _parents(prefix)):
            below = [(n, m) for other, n, m, _ in row[3] if other.startswith(prefix + '/') and n >= min_pages]
            decided[prefix] = int(pages >= min_pages and collected >= prefix_share * pages
                                  and all(m >= FOLDER_SHARE * n for n, m in below))
    return decided


def _parents(prefix: str) -> list[str]:
    names = prefix.split('/')
    return ['/'.join(names[:i]) for i in range(1, len(names))]


def write_review(path, rows: Iterable[list], decisions: dict[str, int]) -> None:
    """domains_to_review.tsv: a line for each prefix of each domain, most collected first; `math` is the rule's."""
    out = io.StringIO()
    table = csv.writer(out, delimiter='\t', lineterminator='\n')
    table.writerow(COLUMNS)
    for domain, pages, collected, prefixes in sorted(rows, key=lambda row: (-row[2], row[0])):
        for prefix, n, m, mean in prefixes:
            if prefix in decisions:
                table.writerow([domain, pages, f'{collected / pages:.4f}', prefix, n, f'{m / n:.4f}', f'{mean:.4f}',
                                decisions[prefix]])
    stages.write_text(path, out.getvalue())


def write_annotations(path, decisions: dict[str, int]) -> None:
    stages.write_text(path, ''.join(f'{prefix}\t{math}\n' for prefix, math in sorted(decisions.items())))


def read_annotations(path) -> dict[str, int]:
    """URL prefix -> 1 or 0 of a TSV made by a person: two columns, or the review table with its math column edited.

    ValueError names the file, the line and what was wanted.
    """
    path = epath.Path(path)
    if not path.exists():
        raise ValueError(f'{path}: there is no such file; annotations (URL prefix, tab, 0 or 1 a line) were wanted')
    try:
        lines = path.read_bytes().decode('utf-8-sig').splitlines()   # epath's read_text keeps the byte order mark
    except UnicodeDecodeError:
        raise ValueError(f'{path} is not UTF-8, which annotations are written in') from None
    decided, columns = {}, (0, 1)
    for number, line in enumerate(lines, start=1):
        cells = [cell.strip() for cell in line.split('\t')]
        if not line.strip() or line.startswith('#'):
            continue
        if tuple(cells) == COLUMNS or cells[-1] == 'math':
            columns = (cells.index('prefix') if 'prefix' in cells else 0, len(cells) - 1)
            continue
        if len(cells) <= max(columns) or cells[columns[1]] not in ('0', '1'):
            raise ValueError(f'{path} line {number}: {line[:80]!r}; a URL prefix, a tab and 0 or 1 were wanted')
        decided[urls.normalize(cells[columns[0]])] = int(cells[columns[1]])
    return decided


@functools.lru_cache(maxsize=4)
def annotations(path: str) -> dict[str, int]:
    """`read_annotations`, once a process."""
    return read_annotations(path)


def judged(url: str, decided: dict[str, int]) -> int | None:
    """1 or 0 by the longest annotated prefix of a URL; None where there is none."""
    if not decided:
        return None
    names = urls.normalize(url).partition('?')[0].split('/')
    for end in range(len(names), 0, -1):
        found = decided.get('/'.join(names[:end]))
        if found is not None:
            return found
    return None
