"""Seeds by text and by URL, whose spellings meet; what is wrong with a line is one sentence."""
import json

import pytest

from mathrl.mining import features, seeds, stages


@pytest.fixture
def read(tmp_path):
    def read(*lines, name='seeds.jsonl'):
        path = tmp_path / name
        path.write_text(''.join((line if isinstance(line, str) else json.dumps(line)) + '\n' for line in lines))
        stage = stages.open_stage(tmp_path, 'known', {'seeds': stages.file_hash(path)})
        return stage, seeds.read(str(path), stage)
    return read


def test_texts_and_urls_are_told_apart(read):
    stage, given = read({'text': 'Let $x$ be a real number.'}, '', {'url': 'https://a.org/x', 'text': ' '},
                        {'url': 'https://b.org/y'})
    assert given == {'texts': 1, 'urls': 2}
    (key, label, language, words, marks), = stages.read_rows(stage.path('texts'))
    assert (label, words) == (1, 'let be a real number')
    assert f'{features.MARK}formula' in marks.split()
    assert seeds.seed_urls(str(stage.path('urls', 'npy'))) == {seeds.url_hash(url) for url in ('a.org/x', 'b.org/y')}


def test_a_text_counts_before_a_url(read):
    assert read({'url': 'https://a.org/x', 'text': 'A theorem.'})[1] == {'texts': 1, 'urls': 0}


def test_spellings_of_a_url_and_equal_texts_are_one_seed(read):
    stage, given = read(*({'url': url} for url in (
        'https://www.a.org/x/', 'http://A.org/x?utm_source=m', 'HTTPS://a.org:443/x/index.html#top')),
        {'text': 'A theorem.'}, {'text': 'A theorem.'})
    assert given == {'texts': 1, 'urls': 1}
    assert seeds.url_hash('http://a.org/x') in seeds.seed_urls(str(stage.path('urls', 'npy')))
    assert seeds.url_hash('http://a.org/X') not in seeds.seed_urls(str(stage.path('urls', 'npy')))


def test_the_order_of_lines_does_not_count(read):
    lines = [{'text': f'Theorem {"abc"[i % 3]} of {i}'} for i in range(9)] + [{'url': f'a.org/{i}'} for i in range(9)]
    kept = []
    for name, order in (('a.jsonl', lines), ('b.jsonl', lines[::-1])):
        stage, _ = read(*order, name=name)
        kept.append([stage.path('texts').read_bytes(), stage.path('urls', 'npy').read_bytes()])
    assert kept[0] == kept[1]


def test_finished_seeds_are_not_read_again(read, tmp_path):
    stage, given = read({'url': 'a.org'})
    assert seeds.read(str(tmp_path / 'gone.jsonl'), stage) == given


@pytest.mark.parametrize('line,said', [
    ({'problem': '1 + 1', 'answer': '2'}, "neither 'text' nor 'url'.*problem, answer"),
    ({'text': '', 'url': None}, "neither 'text' nor 'url'"), ({'text': 3}, "neither 'text' nor 'url'"),
    ({}, 'no fields'), ('{"text": ', 'is not JSON'), ('["a"]', 'is a list'), ('"a"', 'is a string')])
def test_a_wrong_line_is_one_sentence_with_its_place(read, line, said):
    with pytest.raises(ValueError, match=said) as error:
        read({'url': 'a.org'}, '', line)
    assert 'seeds.jsonl line 3' in str(error.value) and '\n' not in str(error.value)


def test_a_file_without_seeds_is_one_sentence(read):
    with pytest.raises(ValueError, match='seeds.jsonl: the file is empty'):
        read('', '')


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match='absent.jsonl: there is no such file'):
        seeds.read(str(tmp_path / 'absent.jsonl'), stages.open_stage(tmp_path, 'known', {}))
