"""The program mine as its user runs it, on a small crawl: what it writes, and that it writes the same again."""
import collections
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from mathrl.mining import stages

REPOSITORY = pathlib.Path(__file__).parents[2]
QUESTION = ('Natalia sold clips to forty eight of her friends in April, and then she sold half as many clips in May. '
            'How many clips did Natalia sell altogether in April and May?')
REASONS = {'duplicate_url', 'duplicate_content', 'contaminated', 'low_score', 'too_short', 'bad_record', 'timeout'}
SMALL = ('--gin.BUCKETS=2000', '--gin.classifier.FastText.dim=16', '--gin.classifier.FastText.min_updates=3000',
         '--gin.crawl.Rounds.first_updates=1000')

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import small_crawl  # noqa: E402  (a module beside this test, which is no package)


def command(crawl, workdir, *more):
    return [sys.executable, '-m', 'mathrl.main', '--gin_file=gin/runs/mine.gin', f'--workdir={workdir}',
            f'--gin.WARCS=["{crawl}/*.warc.gz"]', f'--gin.SEEDS="{crawl}/seeds.jsonl"', *SMALL, *more]


def mine(crawl, workdir, *more, wanted=0):
    done = subprocess.run(command(crawl, workdir, *more), cwd=REPOSITORY, capture_output=True, text=True, timeout=500)
    assert done.returncode == wanted, done.stdout + done.stderr
    return done


def digests(workdir):
    files = [*sorted((workdir / 'corpus').iterdir()), workdir / 'pages.jsonl']
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def rows(path):
    return list(stages.read_rows(path))


def corpus(workdir):
    return [row for path in sorted((workdir / 'corpus').iterdir()) for row in rows(path)]


@pytest.fixture(scope='module')
def crawl(tmp_path_factory):
    folder = tmp_path_factory.mktemp('crawl')
    small_crawl.write(folder, planted=QUESTION)
    (folder / 'benchmark.jsonl').write_text(json.dumps({'problem': QUESTION, 'answer': '72'}) + '\n')
    return folder


@pytest.fixture(scope='module')
def mined(crawl, tmp_path_factory):
    """(workdir, what was printed) of a run with two workers."""
    workdir = tmp_path_factory.mktemp('mined')
    return workdir, mine(crawl, workdir, f'--gin.BENCHMARKS=["{crawl}/benchmark.jsonl"]', '--gin.WORKERS=2')


def test_every_record_has_a_line_and_every_kept_one_is_in_the_corpus(mined):
    workdir, _ = mined
    lines, kept = rows(workdir / 'pages.jsonl'), corpus(workdir)
    by_id = {line['record_id']: line for line in lines}
    assert len(lines) == len(by_id) == 8 * 12 + 4
    assert {line['reason'] for line in lines if not line['kept']} <= REASONS
    assert all((line['reason'] is None) == line['kept'] for line in lines)
    assert [row['record_id'] for row in kept] == [line['record_id'] for line in lines if line['kept']]
    assert all({'url', 'text', 'score', 'language', 'round', 'snapshot'} <= set(row) for row in kept)
    assert {row['snapshot'] for row in kept} == {'crawl'} and {row['language'] for row in kept} == {'en'}


def test_sites_without_a_seed_are_judged_by_what_they_hold(mined):
    lines = rows(mined[0] / 'pages.jsonl')
    kept = collections.Counter(line['url'].split('/')[2] for line in lines if line['kept'])
    assert kept['math4.example'] == 11 and kept['math6.example'] == 12   # one page of the former holds a benchmark
    assert not any(site.startswith('life') for site in kept)


def test_copies_end_as_one_page_which_they_name(mined):
    lines = {line['record_id'][-13:-1]: line for line in rows(mined[0] / 'pages.jsonl')}
    standing = lines['000000000001']
    assert standing['kept'] and standing['url'] == 'http://math0.example/notes/0/'
    for number, reason in ((1000, 'duplicate_url'), (1001, 'duplicate_url'), (1002, 'duplicate_url'), (1003, 'duplicate_content')):
        assert lines[f'{number:012d}']['reason'] == reason
        assert lines[f'{number:012d}']['duplicate_of'] == standing['record_id']


def test_planted_question_is_dropped_and_named(mined):
    workdir, _ = mined
    dropped = [line for line in rows(workdir / 'pages.jsonl') if line['reason'] == 'contaminated']
    assert [line['url'] for line in dropped] == ['http://math4.example/notes/3/']
    assert dropped[0]['detail'].startswith('benchmark line 1: natalia sold clips')
    assert json.loads((workdir / 'mining.json').read_text())['contaminated'][0]['benchmark'] == 'benchmark'


def test_account_sums_up_and_the_report_is_there(mined):
    workdir, printed = mined
    summary = json.loads((workdir / 'mining.json').read_text())
    assert summary['kept'] + sum(summary['by_reason'].values()) == summary['pages'] == 100
    assert summary['tokens'] == sum(part['tokens'] for part in summary['by_language'].values()) > 0
    assert 'math4.example' in (workdir / 'report.html').read_text()
    assert (workdir / 'config.gin').exists()
    last = sorted((workdir / 'rounds').iterdir())[-1]
    assert 'math4.example\t1' in (last / 'annotations.tsv').read_text()
    assert 'prefix_share' in (last / 'domains_to_review.tsv').read_text().splitlines()[0]
    assert 'INFO' not in printed.stderr and 'WARNING' not in printed.stderr, printed.stderr


def test_one_worker_writes_the_same_bytes(crawl, mined, tmp_path):
    mine(crawl, tmp_path / 'one', f'--gin.BENCHMARKS=["{crawl}/benchmark.jsonl"]', '--gin.WORKERS=1')
    assert digests(tmp_path / 'one') == digests(mined[0])


def test_other_threshold_keeps_the_texts(crawl, tmp_path):
    mine(crawl, tmp_path, '--gin.WORKERS=1', '--gin.ROUNDS=1')
    before = {path: path.stat().st_ino for path in (tmp_path / 'stages' / 'texts').iterdir()}
    mine(crawl, tmp_path, '--gin.WORKERS=1', '--gin.ROUNDS=1', '--gin.THRESHOLD=1.1')
    assert {path: path.stat().st_ino for path in (tmp_path / 'stages' / 'texts').iterdir()} == before
    assert len(corpus(tmp_path)) == 12   # the seeds alone


def test_attended_run_waits_for_a_person(crawl, tmp_path):
    more = ('--gin.ATTENDED=True', '--gin.WORKERS=1', '--gin.ROUNDS=2')
    assert 'waiting for a person' in mine(crawl, tmp_path, *more).stdout
    assert not (tmp_path / 'pages.jsonl').exists()
    for number in (1, 2):
        (tmp_path / 'rounds' / f'{number}' / 'annotations.tsv').parent.mkdir(exist_ok=True)
        (tmp_path / 'rounds' / f'{number}' / 'annotations.tsv').write_text('math6.example/notes\t1\nlife1.example\t0\n')
    printed = mine(crawl, tmp_path, *more).stdout
    assert 'round 2: 24 examples of mathematics' in printed   # 12 seeds and the 12 pages below the prefix
    assert (tmp_path / 'report.html').exists()


BAD_PAGES = {
    'binary': b'\x89PNG\r\n\x1a\n' + bytes(range(256)) * 20,
    'large': b'<html><body>' + b'<p>words </p>' * 1_200_000,
    'deep': b'<html><body>' + b'<div>' * 100_000 + b'text ' * 50,
    'empty': b'',
    'error': small_crawl.html(small_crawl.math_page(7)),
}


def test_bad_input_is_counted_and_costs_no_good_page(crawl, mined, tmp_path):
    folder = tmp_path / 'crawl'
    small_crawl.write(folder, planted=QUESTION)
    bad = [small_crawl.record(f'http://bad.example/{name}', body, 2000 + index,
                              status='404 Not Found' if name == 'error' else '200 OK')
           for index, (name, body) in enumerate(BAD_PAGES.items())]
    bad.insert(1, small_crawl.record('http://bad.example/length', small_crawl.html('short'), 3000, length=10 ** 6))
    nul = small_crawl.html('\x00'.join(small_crawl.math_page(4321)))
    bad.append(small_crawl.record('http://odd.example/nul', nul, 3001))
    chinese = '<p>设函数 \\(f(x)\\) 在区间上连续，则定理成立，证明如下。</p>' * 5
    bad.append(small_crawl.record('http://odd.example/gbk', f'<html><head><meta charset="utf-8"></head><body>{chinese}'.encode('gbk'), 3002))
    packed = b''.join(map(small_crawl.gzip.compress, bad))
    (folder / 'odd-00000.warc.gz').write_bytes(packed)
    (folder / 'odd-00001.warc.gz').write_bytes(packed[:len(packed) - 200])
    (folder / 'odd-00002.warc.gz').write_bytes(b'')
    (folder / 'odd-00003.warc').write_bytes(b''.join(bad[:2])[:-300])
    done = mine(folder, tmp_path / 'out', '--gin.WORKERS=2', f'--gin.BENCHMARKS=["{crawl}/benchmark.jsonl"]',
                f'--gin.WARCS=["{folder}/*.warc*", "{folder}/absent.warc.gz"]', '--gin.ROUNDS=1')
    lines = rows(tmp_path / 'out' / 'pages.jsonl')
    faults = json.loads((tmp_path / 'out' / 'mining.json').read_text())['by_detail']['bad_record']
    assert {'empty file', 'HTTP status 404'} <= set(faults), faults
    assert any('binary' in detail for detail in faults) and any('larger' in detail for detail in faults)
    assert any(detail.startswith('cannot be read') for detail in faults) and done.returncode == 0
    text = {line['url']: line for line in lines if line['score'] is not None}
    assert {'http://odd.example/nul', 'http://odd.example/gbk'} <= set(text)
    good = {line['url'] for line in rows(mined[0] / 'pages.jsonl') if line['score'] is not None}
    assert good <= set(text)
    texts = [row for path in sorted((tmp_path / 'out' / 'stages' / 'texts').glob('*.zst')) for row in rows(path)]
    chinese_page = next(row for row in texts if row['url'].endswith('gbk') and 'text' in row)
    assert '设函数' in chinese_page['text'] and chinese_page['language'] == 'zh'


def test_page_that_takes_too_long_is_abandoned_alone(crawl, tmp_path):
    folder = tmp_path / 'crawl'
    small_crawl.write(folder)
    slow = small_crawl.html('<p>\\(x\\) and <b>more</b></p>' * 300_000)
    (folder / 'slow-00000.warc.gz').write_bytes(small_crawl.gzip.compress(small_crawl.record('http://slow.example/', slow, 4000)))
    mine(folder, tmp_path / 'out', '--gin.WORKERS=1', '--gin.SECONDS_PER_PAGE=0.1', '--gin.ROUNDS=1')
    lines = rows(tmp_path / 'out' / 'pages.jsonl')
    assert [line['url'] for line in lines if line['reason'] == 'timeout'] == ['http://slow.example/']
    assert sum(line['score'] is not None for line in lines) == 96


@pytest.mark.parametrize('more, message', [
    (('--gin.WARCS=["/nowhere/*.warc.gz"]',), '/nowhere'),
    (('--gin.SEEDS="/nowhere.jsonl"',), '/nowhere.jsonl: there is no such file'),
    (('--gin.BENCHMARKS=["/nowhere.jsonl"]',), '/nowhere.jsonl: there is no such file'),
    (('--beam_options=--runner=NoSuchRunner',), "the runner 'NoSuchRunner'"),
])
def test_wrong_input_is_one_sentence(crawl, tmp_path, more, message):
    done = mine(crawl, tmp_path, *more, wanted=2)
    assert message in done.stderr and done.stderr.startswith('error: ') and len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_corpus(crawl, mined, tmp_path):
    more = (f'--gin.BENCHMARKS=["{crawl}/benchmark.jsonl"]', '--gin.WORKERS=2')
    inodes = {}
    for seconds in (2, 4, 6, 8, 10, 12, 15, 18):
        process = subprocess.Popen(command(crawl, tmp_path, *more), cwd=REPOSITORY, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for path in sorted((tmp_path / 'stages' / 'texts').glob('0*.counts.json')):
            assert inodes.setdefault(path, path.stat().st_ino) == path.stat().st_ino, f'{path} was made again'
    mine(crawl, tmp_path, *more)
    assert digests(tmp_path) == digests(mined[0])


@pytest.mark.slow
def test_workers_end_when_the_driver_is_killed(crawl, tmp_path):
    process = subprocess.Popen(command(crawl, tmp_path, '--gin.WORKERS=2'), cwd=REPOSITORY, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    time.sleep(6)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and processes_of(tmp_path):
        time.sleep(1)
    assert not processes_of(tmp_path)


def processes_of(workdir):
    """Those whose standard error is the log of this folder's workers."""
    found = []
    for process in pathlib.Path('/proc').glob('[0-9]*'):
        try:
            if os.readlink(process / 'fd' / '2') == str(workdir / 'workers.log'):
                found.append(process.name)
        except OSError:
            continue
    return found


@pytest.mark.slow
def test_a_dask_cluster_writes_the_same_bytes(crawl, mined, tmp_path):
    mine(crawl, tmp_path, f'--gin.BENCHMARKS=["{crawl}/benchmark.jsonl"]', '--beam_options=--runner=DaskRunner')
    assert digests(tmp_path) == digests(mined[0])
