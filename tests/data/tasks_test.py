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
from mathrl.data import tasks   # noqa: E402
from seqio import test_utils    # noqa: E402

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


def test_text_to_targets():
    dataset = tf.data.Dataset.from_tensors({'text': 'Let $x=1$.', 'source': 'web'})
    test_utils.assert_dataset(tasks.text_to_targets(dataset), {'targets': 'Let $x=1$.'})


def test_problems_to_pairs():
    dataset = tf.data.Dataset.from_tensors(PROBLEMS[0])
    test_utils.assert_dataset(tasks.problems_to_pairs(dataset, Templates(en='Q: {problem}\n')),
                              {'inputs': 'Q: 1+1?\n', 'targets': '1+1=2\nThe answer is \\boxed{2}.'})
    dataset = tf.data.Dataset.from_tensors(PROBLEMS[1])
    test_utils.assert_dataset(tasks.problems_to_pairs(dataset), {
        'inputs': prompt(PROBLEMS[1]['problem']), 'targets': '17+25=42\n答案是\\boxed{42}。'})


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
    for name, text in (('a', 'x'), ('b', 'y')):
        records.write_jsonl(tmp_path / f'{name}.jsonl', [{'text': text}] * 20)
    parts = [(tasks.text_task([str(tmp_path / f'{name}.jsonl')], str(files), name=name), rate)
             for name, rate in (('a', 3), ('b', 1))]
    found = tasks.examples(tasks.mixture(parts), seed=0)
    first = [next(found).ids for _ in range(1000)]
    assert len({tuple(ids) for ids in first}) == 2
    assert 680 < max(first.count(ids) for ids in first[:10]) < 820


def test_our_tokenizer_of_a_task(files):
    task = tasks.text_task([str(files / 'text.jsonl')], str(files))
    assert tasks.tokenizer_of(task).digest == SentencePieceTokenizer((files / 'tokenizer.model').read_bytes()).digest
    with pytest.raises(ValueError, match='there is no such tokenizer'):
        tasks.tokenizer_of(tasks.text_task([], str(files / 'absent')))


def test_faults_are_one_sentence(files):
    with pytest.raises(ValueError, match="problems.jsonl line 1: field 'text' is missing"):
        list(tasks.examples(tasks.text_task([str(files / 'problems.jsonl')], str(files)), 0))
    with pytest.raises(ValueError, match='seqio tasks read SentencePiece models only'):
        tasks.text_task([], 'folder/tokenizer.json')
