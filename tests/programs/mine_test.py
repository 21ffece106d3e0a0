"""The program mine as its user runs it, on a small crawl: what it writes, and that it writes the same again."""
import collections
import hashlib
import json
import os
import pathlib
import re
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
    for number, reason in ((1000, 'duplicate_url'), (1001, 'duplicate_url'), (1002, 'duplicate_url'),
                           (1003, 'duplicate_content')):
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
    progress = re.compile(r'[\w :]+: (\d+ of \d+ files, )?\d+ s(, \d+ s left)?')
    assert all(map(progress.fullmatch, printed.stderr.splitlines())) and len(printed.stdout.splitlines()) < 20, printed


def test_one_worker_writes_the_same_bytes(crawl, mined, tmp_path):
    mine(crawl, tmp_path / 'one', f'--gin.BENCHMARKS=["{crawl}/benchmark.jsonl"]', '--gin.WORKERS=1')
    assert digests(tmp_path / 'one') == digests(mined[0])
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / 'one' / 'corpus').iterdir()}
    mine(crawl, tmp_path / 'one', f'--gin.BENCHMARKS=["{crawl}/benchmark.jsonl"]', '--gin.WORKERS=1')
    assert digests(tmp_path / 'one') == digests(mined[0])
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / 'one' / 'corpus').iterdir()} == before


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


def test_bad_input_is_counted_and_costs_no_good_page(crawl, mined, tmp_path):
    folder, out = tmp_path / 'crawl', tmp_path / 'out'
    small_crawl.write(folder, planted=QUESTION)
    small_crawl.write_bad(folder)
    mine(folder, out, '--gin.WORKERS=2', f'--gin.WARCS=["{folder}/*.warc*", "{folder}/absent.warc.gz"]', '--gin.ROUNDS=1')
    lines = rows(out / 'pages.jsonl')
    faults = collections.Counter((line['url'].rpartition('/')[2] or line['record_id'], line['reason'], line['detail'])
                                 for line in lines if 'detail' in line)
    assert faults == {
        ('binary', 'bad_record', 'binary'): 3, ('length', 'bad_record', 'wrong length'): 2,
        ('large', 'bad_record', 'page larger than 10 MB'): 2,
        ('deep', 'bad_record', 'nested too deep: more than 3000 elements inside one another'): 2,
        ('empty', 'too_short', 'fewer than 40 characters'): 2, ('error', 'bad_record', 'HTTP status 404'): 2,
        ('nul', 'bad_record', 'truncated gzip'): 1, ('cut', 'bad_record', 'cut mid-record'): 1,
        ('<odd-00002.warc.gz:0>', 'bad_record', 'empty file'): 1,
        ('<absent.warc.gz:0>', 'bad_record', 'cannot be read: FileNotFoundError'): 1}
    counted = json.loads((out / 'mining.json').read_text())['by_reason']
    assert counted['bad_record'] == 15 and counted['too_short'] == 2
    judged = {line['url'] for line in lines if line['score'] is not None}
    good = {line['url'] for line in rows(mined[0] / 'pages.jsonl') if line['score'] is not None}
    assert judged == good | {f'http://odd.example/{name}' for name in ('nul', 'gbk', 'whole')}
    texts = [row for path in sorted((out / 'stages' / 'texts').glob('*.zst')) for row in rows(path)]
    chinese = next(row for row in texts if row['url'].endswith('gbk'))
    assert '设函数' in chinese['text'] and chinese['language'] == 'zh'


def test_page_that_takes_too_long_is_abandoned_alone(crawl, tmp_path):
    folder = tmp_path / 'crawl'
    small_crawl.write(folder)
    slow = small_crawl.html('<p>\\(x\\) and <b>more</b></p>' * 300_000)
    slow_record = small_crawl.record('http://slow.example/', slow, 4000)
    (folder / 'slow-00000.warc.gz').write_bytes(small_crawl.gzip.compress(slow_record))
    mine(folder, tmp_path / 'out', '--gin.WORKERS=1', '--gin.SECONDS_PER_PAGE=0.1', '--gin.ROUNDS=1')
    lines = rows(tmp_path / 'out' / 'pages.jsonl')
    assert [line['url'] for line in lines if line['reason'] == 'timeout'] == ['http://slow.example/']
    assert sum(line['score'] is not None for line in lines) == 96


@pytest.mark.parametrize('more, message', [
    (('--gin.WARCS=["/nowhere/*.warc.gz"]',), '/nowhere'),
    (('--gin.WARCS=["/nowhere/1.warc.gz", "/nowhere/2.warc.gz"]',), 'no WARC file matches'),
    (('--gin.SEEDS="/nowhere.jsonl"',), '/nowhere.jsonl: there is no such file'),
    (('--gin.SEEDS="{crawl}/benchmark.jsonl"',), "benchmark.jsonl line 1: neither 'text' nor 'url'"),
    (('--gin.BENCHMARKS=["/nowhere.jsonl"]',), '/nowhere.jsonl: there is no such file'),
    (('--gin.BENCHMARKS=["{crawl}/seeds.jsonl"]',), 'seeds.jsonl line 1'),
    (('--beam_options=--runner=NoSuchRunner',), "the runner 'NoSuchRunner'"),
    (('--gin.WARCS=["{crawl}/seeds.jsonl"]', '--gin.WORKERS=1'), 'is a page with text'),
])
def test_wrong_input_is_one_sentence(crawl, tmp_path, more, message):
    started = time.monotonic()
    done = mine(crawl, tmp_path, *(flag.replace('{crawl}', str(crawl)) for flag in more), wanted=2)
    assert message in done.stderr and done.stderr.startswith('error: ') and len(done.stderr.splitlines()) == 1
    assert time.monotonic() - started < 30


# ---- processes that die
def start(crawl, workdir, *more):
    return subprocess.Popen(command(crawl, workdir, '--gin.WORKERS=2', *more), cwd=REPOSITORY, text=True,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def processes_of(workdir):
    """Those whose standard error is the log of this folder's workers."""
    found = []
    for process in pathlib.Path('/proc').glob('[0-9]*'):
        try:
            if os.readlink(process / 'fd' / '2') == str(workdir / 'workers.log'):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def wait_for(what, process=None, seconds=60):
    """What `what()` gives once it is true; fails after `seconds` or if the process ends before."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline and (process is None or process.poll() is None), what
        time.sleep(0.01)
    return found


MOMENTS = ('workers.log', 'stages/texts/*.counts.json', 'stages/texts/done.json', 'stages/duplicates_url/done.json',
           'stages/clusters/*.zst', 'rounds/1/examples/*.zst', 'rounds/1/model/*.partial', 'rounds/1/scores/*.zst',
           'rounds/2/model/stage.json', 'rounds/2/domains/*.zst', 'corpus/*.zst', 'stages/written/*.zst')


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_corpus(crawl, mined, tmp_path):
    more, inodes = f'--gin.BENCHMARKS=["{crawl}/benchmark.jsonl"]', {}
    for moment in MOMENTS:
        process = start(crawl, tmp_path, more)
        wait_for(lambda: list(tmp_path.glob(moment)), process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        for path in sorted((tmp_path / 'stages' / 'texts').glob('0*.counts.json')):
            assert inodes.setdefault(path, path.stat().st_ino) == path.stat().st_ino, f'{path} was made again'
    assert len(inodes) == 3
    (tmp_path / 'corpus' / 'part-00000-of-00003.jsonl.zst.1.partial').write_bytes(b'what a kill leaves')
    mine(crawl, tmp_path, more, '--gin.WORKERS=2')
    assert digests(tmp_path) == digests(mined[0])
    assert not list(tmp_path.rglob('*.partial'))


@pytest.mark.slow
def test_workers_end_when_the_driver_is_killed(crawl, tmp_path):
    process = start(crawl, tmp_path)
    assert wait_for(lambda: len(processes_of(tmp_path)) >= 2, process)
    process.kill()
    process.communicate()
    wait_for(lambda: not processes_of(tmp_path), seconds=10)


@pytest.mark.slow
def test_driver_ends_when_a_worker_is_killed(crawl, tmp_path):
    process = start(crawl, tmp_path)
    wait_for(lambda: len(processes_of(tmp_path)) >= 2, process)
    os.kill(processes_of(tmp_path)[0], signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and 'the same command goes on from here' in said
    wait_for(lambda: not processes_of(tmp_path), seconds=10)


@pytest.mark.slow
def test_a_dask_cluster_writes_the_same_bytes(crawl, mined, tmp_path):
    done = mine(crawl, tmp_path, f'--gin.BENCHMARKS=["{crawl}/benchmark.jsonl"]', '--beam_options=--runner=DaskRunner')
    assert digests(tmp_path) == digests(mined[0])
    assert not (tmp_path / 'workers.log').exists()   # no worker of ours
    assert 'distributed' not in done.stderr and 'already in use' not in done.stderr, done.stderr
