"""The program synthesize writes what the other programs read."""
from mathrl.problems.extract import boxed
from mathrl.problems.types import read_problems
from mathrl.programs import synthesize
from mathrl.records import read_jsonl


def _run(workdir, **changed):
    workdir.mkdir(exist_ok=True)
    synthesize.run(workdir=workdir, **{'texts': 30, 'sft': 40, 'train': 40, 'heldout': 20, 'levels': (1,),
                                       'slip': {'carry': 1.0, 'borrow': 1.0}, **changed})


def test_four_files_with_their_numbers(tmp_path):
    _run(tmp_path)
    files = {name: read_problems(tmp_path / f'{name}.jsonl') for name in ('sft', 'train', 'heldout')}
    assert {name: len(problems) for name, problems in files.items()} == {'sft': 40, 'train': 40, 'heldout': 20}
    assert len(read_jsonl(tmp_path / 'text.jsonl', ('text',))) == 30
    assert any(boxed(problem.solution) != problem.answer for problem in files['sft'])
    assert all(boxed(problem.solution) == problem.answer for name in ('train', 'heldout') for problem in files[name])
    assert files['train'][0] != files['sft'][0]


def test_the_same_seed_gives_the_same_files(tmp_path):
    for name, seed in (('a', 1), ('b', 1), ('c', 2)):
        _run(tmp_path / name, seed=seed)
    for file in ('text', 'sft', 'train', 'heldout'):
        first, second, other = ((tmp_path / name / f'{file}.jsonl').read_bytes() for name in 'abc')
        assert first == second != other


def test_a_count_of_zero_leaves_a_file_out(tmp_path):
    _run(tmp_path, texts=0, sft=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['heldout.jsonl', 'train.jsonl']


def test_a_dry_run_writes_nothing(tmp_path, capsys):
    _run(tmp_path, dry_run=True)
    assert not list(tmp_path.iterdir()) and '40 solved problems' in capsys.readouterr().out
