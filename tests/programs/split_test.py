"""The program split: disjoint, complete, and by the text alone."""
import dataclasses

import pytest

from mathrl.problems import synthetic
from mathrl.problems.types import read_problems
from mathrl.programs import split
from mathrl.records import write_jsonl


@pytest.fixture
def problems(tmp_path):
    made = synthetic.generate(0, 600, 'heldout', levels=(1, 2))
    write_jsonl(tmp_path / 'problems.jsonl', map(dataclasses.asdict, made + made[:100]))
    return made


def _run(tmp_path, name, **changed):
    workdir = tmp_path / name
    workdir.mkdir()
    split.run(workdir=workdir, **{'problems': str(tmp_path / 'problems.jsonl'), **changed})
    return [read_problems(workdir / f'{side}.jsonl') for side in ('train', 'heldout')]


def test_sides_are_disjoint_and_complete(tmp_path, problems):
    train, heldout = _run(tmp_path, 'out', heldout_share=0.2)
    assert sorted(map(repr, train + heldout)) == sorted(map(repr, problems + problems[:100]))
    assert not {one.problem for one in train} & {one.problem for one in heldout}
    assert abs(len(heldout) / 700 - 0.2) < 0.06


def test_the_limit_drops_the_rest(tmp_path, problems):
    train, heldout = _run(tmp_path, 'out', heldout_limit=10)
    all_train, all_heldout = _run(tmp_path, 'all')
    assert heldout == all_heldout[:10] and train == all_train


def test_the_side_depends_on_the_text_alone(tmp_path, problems):
    _, heldout = _run(tmp_path, 'first')
    write_jsonl(tmp_path / 'problems.jsonl',
                ({'problem': f' {one.problem}\n', 'answer': '0'} for one in problems[::-1]))
    _, again = _run(tmp_path, 'second')
    assert {one.problem.strip() for one in again} == {one.problem for one in heldout}


def test_faults_are_one_sentence(tmp_path, problems):
    with pytest.raises(ValueError, match='heldout_share=1.5 and heldout_limit=0; a share between 0 and 1'):
        _run(tmp_path, 'a', heldout_share=1.5)
    with pytest.raises(ValueError, match='no problem falls into heldout with heldout_share=1e-09'):
        _run(tmp_path, 'b', heldout_share=1e-9)


def test_a_dry_run_writes_nothing(tmp_path):
    split.run(workdir=tmp_path, problems='absent.jsonl', dry_run=True)
    assert not list(tmp_path.iterdir())
