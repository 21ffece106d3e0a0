"""seqio tasks: what the preprocessors make, and that their ids are those of our tokenizer."""
import pytest

from mathrl import records
from mathrl.problems import synthetic
from mathrl.problems.prompts import Templates, prompt
from mathrl.problems.worked import worked_solution
from mathrl.text import train_tokenizer
from mathrl.text.tokenizer import SentencePieceTokenizer

tf = pytest.importorskip('tensorflow')
pytest.importorskip('seqio')
from mathrl.data import sources, tasks   # noqa: E402
from seqio import test_utils             # noqa: E402

PROBLEMS = [
    {'problem': '1+1?', 'answer': '2', 'solution': '1+1=<<1+1=2>>2\n#### 2'},
    {'problem': '小明有17支铅笔，\n又买了25支。  他有多少支？', 'answer': '42', 'solution': '17+25=42'},
    {'problem': ' Find \\frac{1}{2}  of $x$\n\n. ', 'answer': '\\frac{1}{2}', 'solution': '\\[ x \\]\n\n So \\boxed{3}.'},
    {'problem': 'naïve 😀 ２５\t?', 'answer': '5', 'solution': ''},
]


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tasks')
    texts = synthetic.texts(0, 800) + [row['problem'] + row['solution'] for row in PROBLEMS]
    SentencePieceTokenizer(train_tokenizer.train(texts, 450)).save(folder)
    records.write_jsonl(folder / 'problems.jsonl', PROBLEMS)
    records.write_jsonl(folder / 'text.jsonl', [{'text': row['problem']} for row in PROBLEMS] + [{'text': 'a\n b'}])
    return folder


def test_an_sft_example_is_our_prompt_and_our_answer_encoded_apart(files):
    ours = SentencePieceTokenizer((files / 'tokenizer.model').read_bytes())
    wanted = [(ours.encode(prompt(row['problem'])),
               ours.encode(worked_solution(row['problem'], row['answer'], row['solution'])) + [ours.eos_id])
              for row in PROBLEMS]
    found = list(tasks.examples(tasks.sft_task([str(files / 'problems.jsonl')], str(files)), seed=0))
    assert sorted((one.ids[:one.untrained], one.ids[one.untrained:]) for one in found) == sorted(wanted)


def test_an_sft_dataset(files):
    ours = SentencePieceTokenizer((files / 'tokenizer.model').read_bytes())
    task = tasks.sft_task([str(files / 'problems.jsonl')], str(files / 'tokenizer.model'))
    dataset = task.get_dataset(None, 'train', shuffle=False).map(
        lambda row: {name: row[name] for name in ('inputs', 'targets')})
    test_utils.assert_dataset(dataset, [
        {'inputs': ours.encode(prompt(row['problem'])),
         'targets': ours.encode(worked_solution(row['problem'], row['answer'], row['solution'])) + [1]}
        for row in PROBLEMS])
    assert dataset.element_spec['inputs'].dtype == tf.int32


def test_a_text_dataset(files):
    ours = SentencePieceTokenizer((files / 'tokenizer.model').read_bytes())
    task = tasks.text_task([str(files / 'text.jsonl')], str(files))
    dataset = task.get_dataset(None, 'train', shuffle=False).map(lambda row: {'targets': row['targets']})
    test_utils.assert_dataset(dataset, [{'targets': ours.encode(text) + [1]}
                                        for text in [row['problem'] for row in PROBLEMS] + ['a\n b']])
    assert all(one.untrained == 0 for one in tasks.examples(task, seed=0))


def test_many_real_looking_texts_get_our_ids(files, tmp_path):
    ours = SentencePieceTokenizer((files / 'tokenizer.model').read_bytes())
    texts = synthetic.texts(1, 300, levels=(1, 2, 3))
    records.write_jsonl(tmp_path / 'text.jsonl', ({'text': text} for text in texts))
    found = tasks.examples(tasks.text_task([str(tmp_path / 'text.jsonl')], str(files)), seed=0)
    assert sorted(one.ids for one in found) == sorted(ours.encode(text) + [1] for text in texts)


def test_examples_are_shuffled_by_the_seed(files, tmp_path):
    records.write_jsonl(tmp_path / 'text.jsonl', ({'text': str(number)} for number in range(50)))
    task = tasks.text_task([str(tmp_path / 'text.jsonl')], str(files))
    orders = [[one.ids for one in tasks.examples(task, seed)] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2] and sorted(orders[0]) == sorted(orders[2])
    assert len(list(tasks.examples(task, 0, epochs=3))) == 150


def test_a_mixture_keeps_the_rates(files, tmp_path):
    parts = []
    for name, text in (('a', 'x'), ('b', 'y')):
        records.write_jsonl(tmp_path / f'{name}.jsonl', [{'text': text}] * 20)
        parts.append(tasks.text_task([str(tmp_path / f'{name}.jsonl')], str(files), name=name))
    found = tasks.examples(tasks.mixture(parts, {'a': 3, 'b': 1}), seed=0)
    first = [next(found).ids for _ in range(1000)]
    assert len({tuple(ids) for ids in first}) == 2
    assert 680 < max(first.count(ids) for ids in first[:10]) < 820
    for rates, wanted in (({'a': 1, 'c': 1}, "rates name 'c'; there are: a, b"), ({'a': 1}, "rates name no 'b'")):
        with pytest.raises(ValueError, match=wanted):
            tasks.mixture(parts, rates)


def test_three_forms_are_one_task(files, tmp_path):
    tools = 'A.\n```python\nprint(2)\n```\n```output\n2\n```\nSo \\boxed{2}.'
    for name, solution in (('programs', 'print(2)'), ('tools', tools)):
        records.write_jsonl(tmp_path / f'{name}.jsonl', [{'problem': '1+1?', 'answer': '2', 'solution': solution}])
    task = tasks.sft_task([str(files / 'problems.jsonl')], str(files), programs=[str(tmp_path / 'programs.jsonl')],
                          tools=[f'{tmp_path}/tool*.jsonl'])
    ours, found = SentencePieceTokenizer((files / 'tokenizer.model').read_bytes()), list(tasks.examples(task, seed=0))
    assert len(found) == len(PROBLEMS) + 2
    written = [ours.decode(one.ids[one.untrained:]) for one in found]
    assert '```python\nprint(2)\n```' in written and tools in written
    masked = [one for one in found if one.trained]
    assert [ours.decode(one.ids[one.untrained:]) for one in masked] == [tools]
    assert ours.decode([ids for ids, trained in zip(masked[0].ids, masked[0].trained) if trained]) == tools.replace(
        '```output\n2\n```\n', '')
    records.write_jsonl(tmp_path / 'programs.jsonl', [{'problem': '1+1?', 'answer': '2'}])
    with pytest.raises(ValueError, match="line 1: field 'solution' is missing or empty; a solution in the form 'pot'"):
        list(tasks.examples(task, seed=0))


def test_parts_are_the_whole(files, tmp_path, monkeypatch):
    for number in range(3):
        records.write_jsonl(tmp_path / f'{number}.jsonl', ({'text': f'{number} {place}'} for place in range(20)))
    task = tasks.text_task([str(tmp_path)], str(files))
    wanted = sorted(one.ids for one in tasks.examples(task, 0))
    for shard_bytes in (1, sources.SHARD_BYTES):      # three shards, and one
        monkeypatch.setattr(sources, 'SHARD_BYTES', shard_bytes)
        assert tasks.natural_parts(task) == (3 if shard_bytes == 1 else 1)
        for parts in (1, 2, 3, 7):
            found = [[one.ids for one in tasks.examples(task, 0, part=(part, parts))] for part in range(parts)]
            assert all(found) and sorted(ids for part in found for ids in part) == wanted


def test_a_large_file_is_shuffled_in_blocks(files, tmp_path, monkeypatch):
    records.write_jsonl(tmp_path / 'text.jsonl', ({'text': str(number)} for number in range(100)))
    monkeypatch.setattr(sources, 'BLOCK_CHARACTERS', 30)
    task = tasks.text_task([str(tmp_path / 'text.jsonl')], str(files))
    order = [int(row['text']) for row in task.source._shuffled('train', None, 0)]
    assert sorted(order) == list(range(100)) and order != sorted(order)
    assert max(abs(number - place) for place, number in enumerate(order)) < 30


def test_heldout_texts_are_in_no_other_split(files, tmp_path):
    records.write_jsonl(tmp_path / 'text.jsonl', ({'text': f'text {number % 300}'} for number in range(600)))
    task = tasks.text_task([str(tmp_path / 'text.jsonl')], str(files), heldout=0.2)
    train, heldout = ([tuple(one.ids) for one in tasks.examples(task, 0, split=split)] for split in ('train', 'heldout'))
    assert not set(train) & set(heldout) and len(train) + len(heldout) == 600 and 60 < len(heldout) < 180
    with pytest.raises(ValueError, match="'heldout'"):
        list(tasks.examples(tasks.text_task([str(tmp_path / 'text.jsonl')], str(files)), 0, split='heldout'))


def test_fields_languages_and_scores_select(files, tmp_path):
    rows = [{'content': 'x', 'language': 'en', 'score': 0.9}, {'content': 'y', 'language': 'zh', 'score': 0.9},
            {'content': 'z', 'language': 'en', 'score': 0.1}, {'reason': 'too_short'}]
    records.write_jsonl(tmp_path / 'text.jsonl', rows)
    make = lambda **changed: tasks.text_task([str(tmp_path / 'text.jsonl')], str(files), field='content', **changed)
    assert [one.ids[-2:] for one in tasks.examples(make(lacking='skip', language='en', min_score=0.5), 0)] == [
        SentencePieceTokenizer((files / 'tokenizer.model').read_bytes()).encode('x')[-1:] + [1]]
    with pytest.raises(ValueError, match="text.jsonl line 4: field 'content' is missing; it has: reason"):
        list(tasks.examples(make(), 0))
    with pytest.raises(ValueError, match="task text is empty: no row of its files is in the split 'train' and kept"):
        tasks.check(make(lacking='skip', language='de'))


def test_our_tokenizer_of_a_task(files):
    task = tasks.text_task([str(files / 'text.jsonl')], str(files))
    assert tasks.tokenizer_of(task).digest == SentencePieceTokenizer((files / 'tokenizer.model').read_bytes()).digest
    with pytest.raises(ValueError, match='there is no such tokenizer'):
        tasks.tokenizer_of(tasks.text_task([], str(files / 'absent')))


def test_faults_are_one_sentence(files):
    with pytest.raises(ValueError, match="problems.jsonl line 1: field 'text' is missing"):
        list(tasks.examples(tasks.text_task([str(files / 'problems.jsonl')], str(files)), 0))
    with pytest.raises(ValueError, match='heldout=1.5; a share from 0 to below 1'):
        tasks.text_task([], str(files), heldout=1.5)
