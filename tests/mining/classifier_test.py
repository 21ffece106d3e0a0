"""A real fastText on made texts: it separates them, its bytes are the same each time, languages weigh as stated."""
import collections
import dataclasses
import random

import fasttext
import pytest

from mathrl.mining import classifier, features, seeds, stages
from mathrl.mining.classifier import FastText

SMALL = FastText(dim=8, buckets=500, min_updates=3000, min_count=1)
MATH = 'theorem proof lemma integral group ring finite continuous let suppose holds every field module'.split()
OTHER = 'recipe butter price garden football movie ticket holiday weather kitchen train music dinner coach'.split()
CHINESE = '定理证明函数群环域积分', '天气价格音乐厨房足球电影'


def text(math, language, rng):
    if language == 'zh':
        return ''.join(rng.choices(CHINESE[not math], k=40)) + ('，$x^2$ ' if math else '。')
    chosen = rng.choices(MATH if math else OTHER, k=30)
    return ' '.join([*chosen, '$x^2 = y$' if math else 'today'])


def rows(counts, seed=0):
    """Examples {(label, language): count}."""
    rng = random.Random(seed)
    return [[rng.getrandbits(64), label, *seeds.example(text(label, language, rng), language)]
            for (label, language), count in counts.items() for _ in range(count)]


@pytest.fixture
def train(tmp_path):
    def train(rows, settings=SMALL, files=1, name='model.bin'):
        paths = [tmp_path / f'{name}.{part}.jsonl.zst' for part in range(files)]
        for part, path in enumerate(paths):
            stages.write_rows(path, rows[part::files])
        return tmp_path / name, classifier.train(paths, tmp_path / name, settings, tmp_path)
    return train


def test_it_separates_texts_it_has_not_seen(train):
    path, learned = train(rows({(1, 'en'): 40, (0, 'en'): 80}))
    assert learned == {'math': 40, 'other': 80, 'languages': ['en'], 'epochs': 19, 'updates': 19 * 160}
    model, rng = classifier.load(str(path)), random.Random(1)
    found = [[classifier.score(model, features.line(text(math, 'en', rng))) for _ in range(20)] for math in (0, 1)]
    assert max(found[0]) < .2 and min(found[1]) > .8
    assert all(0 <= score <= 1 and score == round(score, 6) for score in found[0] + found[1])


@pytest.mark.parametrize('word_ngrams', [1, 2, 3, 5])
def test_a_score_is_fasttexts_and_0_of_no_words(train, word_ngrams):
    path, _ = train(rows({(1, 'en'): 30, (0, 'en'): 30}), dataclasses.replace(SMALL, word_ngrams=word_ngrams))
    model, theirs = classifier.load(str(path)), fasttext.load_model(str(path))
    line, rng = features.line(text(1, 'en', random.Random(2))), random.Random(3)
    for tokens in (line, line[:1], line[:2], ['étale', 'über', '定理'], ['unseen'], rng.sample(line, 9), line * 30):
        labels, values = [list(found) for found in zip(*theirs.f.predict(' '.join(tokens) + '\n', 2, 0., 'strict'))][::-1]
        assert classifier.score(model, tokens) == pytest.approx(values[labels.index(classifier.MATH)], abs=2e-6)
    assert classifier.score(model, []) == 0


def test_two_trainings_give_the_same_bytes_however_the_examples_lie_in_files(train):
    made = rows({(1, 'en'): 30, (0, 'en'): 50, (0, 'zh'): 5})
    one, _ = train(made)
    other, _ = train(made[::-1], files=3, name='other.bin')
    assert one.read_bytes() == other.read_bytes()


def test_nothing_but_the_model_is_left(train, tmp_path):
    train(rows({(1, 'en'): 20, (0, 'en'): 20}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ['model.bin', 'model.bin.0.jsonl.zst']


def test_words_of_a_language_without_mathematics_are_left_out(train):
    made = rows({(1, 'en'): 30, (0, 'en'): 30, (1, 'zh'): 9, (0, 'zh'): 30, (1, 'unknown'): 20, (0, 'unknown'): 20})
    path, learned = train(made)
    assert learned['languages'] == ['en']
    words = set(fasttext.load_model(str(path)).words)
    assert {'theorem', f'{features.MARK}formula', f'{features.MARK}is_theorem'} <= words
    assert not words & set(''.join(CHINESE))
    path, learned = train(made, dataclasses.replace(SMALL, min_language=9), name='b.bin')
    assert learned['languages'] == ['en', 'zh']
    assert '群' in fasttext.load_model(str(path)).words


@pytest.mark.parametrize('label,missing', [(1, 'pages that are no mathematics'), (0, 'pages of mathematics')])
def test_a_missing_class_is_one_sentence(train, label, missing):
    with pytest.raises(ValueError, match=f'has no {missing} to learn from; the other class has 7') as error:
        train(rows({(label, 'en'): 7}))
    assert '\n' not in str(error.value)


def test_small_sets_are_gone_over_again_and_large_ones_as_often_as_asked(train):
    made = rows({(1, 'en'): 50, (0, 'en'): 50})
    settings = [FastText(dim=4, buckets=10, min_updates=n, epochs=3) for n in (1000, 1001, 10)]
    assert [train(made, one)[1]['epochs'] for one in settings] == [10, 11, 3]


def weights(counts, languages):
    copies = classifier._copies(collections.Counter(counts), languages)
    return {key: copies[key] * counts[key] for key in counts}


def test_labels_weigh_the_same_in_each_language_and_in_all():
    found = weights({(1, 'en'): 100, (0, 'en'): 300, (1, 'zh'): 60, (0, 'zh'): 20}, ['en', 'zh'])
    assert found == {(1, 'en'): 300, (0, 'en'): 300, (1, 'zh'): 60, (0, 'zh'): 60}


def test_a_language_whose_words_do_not_count_is_not_balanced_within():
    counts = collections.Counter({(1, 'en'): 50, (0, 'en'): 50, (1, 'de'): 1, (0, 'de'): 49})
    copies = classifier._copies(counts, ['en'])
    assert copies[0, 'de'] == copies[0, 'en'] == 1
    assert copies[1, 'de'] == copies[1, 'en'] == pytest.approx(99 / 51)


def test_copies_are_bounded_within_a_language_and_the_rest_is_made_up_in_all():
    found = weights({(1, 'en'): 10, (0, 'en'): 1000}, ['en'])
    assert found == {(1, 'en'): pytest.approx(1000), (0, 'en'): 1000}
    found = weights({(1, 'en'): 500, (0, 'en'): 500, (1, 'zh'): 10, (0, 'zh'): 800}, ['en', 'zh'])
    assert found[1, 'zh'] == pytest.approx(80 * 1300 / 580) and found[0, 'zh'] == 800
    assert sum(found[1, one] for one in ('en', 'zh')) == pytest.approx(1300)


def test_lines_are_written_as_often_as_weighed(tmp_path):
    made = rows({(1, 'en'): 400, (0, 'en'): 1000})
    stages.write_rows(tmp_path / 'a.jsonl', made)
    lines = list(classifier._lines([tmp_path / 'a.jsonl'], ['en'], {(1, 'en'): 2.5, (0, 'en'): 1.0}, 0))
    counts = collections.Counter(line.split()[0] for _, line in lines)
    assert counts[classifier.OTHER] == 1000 and 940 < counts[classifier.MATH] < 1060
    per = collections.Counter(line for _, line in lines if line.startswith(classifier.MATH))
    assert set(per.values()) <= {2, 3}
    assert len({place for place, _ in lines}) == len(lines)


def test_lines_are_shuffled_as_a_whole(tmp_path):
    lines = [(stages.stable_hash(i), f'{i}\n') for i in range(1000)]
    assert classifier._write_shuffled(iter(lines), str(tmp_path / 'a'), str(tmp_path)) == 1000
    assert (tmp_path / 'a').read_text() == ''.join(line for _, line in sorted(lines))
