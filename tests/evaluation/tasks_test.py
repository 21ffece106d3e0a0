"""What an evaluation asks: labels, protocols, prompts that fit, keys that nothing beside the benchmark changes."""
import json

import jax
import numpy as np
import pytest

from mathrl.evaluation.tasks import open_task, sources
from mathrl.problems.prompts import encode
from mathrl.problems.types import Problem

ROWS = [{'question': f'What is {number} + 1?', 'answer': f'#### {number + 1}'} for number in range(5)]


class Words:
    """A token a word."""

    def encode(self, text):
        return [len(word) for word in text.split()]

    encode_prompt = encode


@pytest.fixture
def gsm8k(tmp_path):
    (tmp_path / 'gsm8k.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in ROWS))
    return tmp_path


def listed(*entries, problems='', folder='', protocol='zero_shot_cot', exemplars={}):
    return sources(problems, entries, str(folder), protocol, exemplars)


def test_benchmarks_by_name_each_with_its_protocol():
    found = listed(('gsm8k', 'a.jsonl'), ('math', 'b.jsonl', 'few_shot_pot'), ('gsm8k', 'tfds:gsm8k:test', 'zero_shot_tir'),
                   folder='data', protocol='few_shot_cot')
    assert [(source.label, source.path, source.protocol.name) for source in found] == [
        ('gsm8k.few_shot_cot', 'data/a.jsonl', 'few_shot_cot'), ('math', 'data/b.jsonl', 'few_shot_pot'),
        ('gsm8k.zero_shot_tir', 'tfds:gsm8k:test', 'zero_shot_tir')]
    assert [source.title for source in found] == ['GSM8K', 'MATH', 'GSM8K']
    assert {source.protocol.extraction for source in found} == {'answer'}


def test_a_plain_file_is_read_as_a_reward_reads_it():
    [source] = listed(problems='p.jsonl')
    assert (source.label, source.path, source.protocol.name, source.protocol.extraction) == (
        'problems', 'p.jsonl', 'zero_shot_cot', 'boxed')


def test_a_plain_file_asked_by_exemplars_is_read_by_their_sentence(tmp_path):
    (tmp_path / 'e.jsonl').write_text(json.dumps({'problem': '1+1?', 'solution': 'Add.', 'answer': '2'}) + '\n')
    [source] = listed(problems='p.jsonl', protocol='few_shot_cot', exemplars={'problems': str(tmp_path / 'e.jsonl')})
    assert (source.protocol.shots, source.protocol.extraction) == (1, 'answer')


@pytest.mark.parametrize('wanted, entries, more', [
    ('BENCHMARKS, a list of .* must be set: none is', [], {}),
    ('must be set: both are', [('gsm8k', 'a')], {'problems': 'p'}),
    ("holds 'gsm8k'; \\(benchmark, path\\) or", ['gsm8k'], {}),
    ("holds \\('gsm8k',\\); ", [('gsm8k',)], {}),
    ("no benchmark 'gsm9k'", [('gsm9k', 'a')], {}),
    ("no protocol 'cot'", [('gsm8k', 'a', 'cot')], {}),
    ('gsm8k.zero_shot_cot is listed twice', [('gsm8k', 'a'), ('gsm8k', 'b')], {}),
    ("EXEMPLARS names 'math', which is not asked with exemplars; these are: gsm8k", [('gsm8k', 'a', 'few_shot_cot')],
     {'exemplars': {'math': 'e'}}),
    ("EXEMPLARS names 'gsm8k', which is not asked with exemplars; nothing is", [('gsm8k', 'a')],
     {'exemplars': {'gsm8k': 'e'}}),
    ("EXEMPLARS names 'gsm8k', .*; these are: gsm8k.few_shot_cot, gsm8k.few_shot_pot",
     [('gsm8k', 'a', 'few_shot_cot'), ('gsm8k', 'a', 'few_shot_pot')], {'exemplars': {'gsm8k': 'e'}}),
])
def test_what_cannot_be_asked_is_one_sentence(wanted, entries, more, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'e').write_text('{"problem": "p", "solution": "s", "answer": "a"}\n')
    with pytest.raises(ValueError, match=wanted) as raised:
        listed(*entries, **more)
    assert '\n' not in str(raised.value)


def test_exemplars_come_from_a_file(gsm8k):
    (gsm8k / 'e.jsonl').write_text(json.dumps({'problem': '1+1?', 'solution': 'Add.', 'answer': '2'}) + '\n')
    [source] = listed(('gsm8k', 'gsm8k.jsonl'), folder=gsm8k, protocol='few_shot_cot',
                      exemplars={'gsm8k': str(gsm8k / 'e.jsonl')})
    task = open_task(source, Words(), 1000, limit=2)
    assert task.prompts[1].text == 'Question: 1+1?\nAnswer: Add. The answer is 2.\n\nQuestion: What is 1 + 1?\nAnswer:'
    assert len(task.problems) == 2


def test_a_long_prompt_loses_exemplars_and_they_are_counted(gsm8k):
    [source] = listed(('gsm8k', 'gsm8k.jsonl'), folder=gsm8k, protocol='few_shot_cot')
    whole = open_task(source, Words(), 10_000)
    assert whole.shots() == {'shots': 8, 'prompts_with_fewer': 0}
    short = open_task(source, Words(), len(whole.prompts[0].ids) - 1)
    assert short.shots() == {'shots': 8, 'prompts_with_fewer': 5}
    assert all(prompt.shots == 7 and whole.prompts[0].text.endswith(short.prompts[0].text) for prompt in short.prompts)


def test_a_problem_that_fits_nowhere_is_named():
    problems = [Problem('short', '1'), Problem('one two three four', '1')]
    write = lambda problem, shots: 'shown ' * shots + problem
    assert [prompt.shots for prompt in encode(problems, write, Words(), 3, 5)] == [3, 1]
    with pytest.raises(ValueError, match=r'problem 2 \(one two three four\) takes 4 tokens as a prompt, without .* 3 fit'):
        encode(problems, write, Words(), 3, 3)


def test_settings_tell_what_answers_depend_on(gsm8k):
    [source], [other] = (listed(('gsm8k', 'gsm8k.jsonl'), folder=gsm8k, protocol=name)
                         for name in ('zero_shot_cot', 'few_shot_cot'))
    settings = open_task(source, Words(), 10_000).settings()
    assert settings == open_task(source, Words(), 10_000).settings()
    assert settings != open_task(other, Words(), 10_000).settings()
    assert settings != open_task(source, Words(), 10_000, limit=4).settings()
    changed = [*ROWS[:4], ROWS[4] | {'answer': '#### 7'}]
    (gsm8k / 'gsm8k.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in changed))
    assert settings != open_task(source, Words(), 10_000).settings()


def test_keys_come_from_seed_and_name(gsm8k):
    def key(seed, *entries):
        source = listed(*entries, folder=gsm8k)[-1]
        return tuple(np.asarray(jax.random.key_data(open_task(source, Words(), 1000).key(seed))))
    alone = key(0, ('gsm8k', 'gsm8k.jsonl'))
    beside = key(0, ('gsm8k', 'm', 'zero_shot_tir'), ('gsm8k', 'gsm8k.jsonl'))
    assert alone == beside != key(1, ('gsm8k', 'gsm8k.jsonl'))
    [plain] = listed(problems=str(gsm8k / 'plain.jsonl'))
    (gsm8k / 'plain.jsonl').write_text('{"problem": "p", "answer": "1"}\n')
    assert open_task(plain, Words(), 1000).key(0) == jax.random.key(0)
    assert alone != tuple(np.asarray(jax.random.key_data(jax.random.key(0))))
