"""The methods program: trainings and evaluations as stages, methods.json and the report at the end."""
import json

import pytest
from etils import epath

from mathrl.programs import methods, stages

SCORES = {'accuracy', 'maj', 'pass', 'samples'}


def settings(workdir, **changed):
    defaults = dict(workdir=epath.Path(workdir), start=[], model='start', methods={'rft': ('gin/miniature/rft.gin', {})},
                    seeds=[0], training={}, evaluation=('gin/quickstart/evaluate.gin', {}), paper_order=['sft', 'rft'],
                    title='A study')
    return defaults | changed


@pytest.fixture(scope='module')
def study(tiny, compilation_cache, tmp_path_factory):
    """Settings of a study that has been run: one method, one seed."""
    workdir = tmp_path_factory.mktemp('methods')
    training = {'PROBLEMS': tiny.problems, 'STEPS': 2, 'QUESTIONS': 2, 'GROUP_SIZE': 4, 'MAX_TOKENS': 6, 'MICRO_BATCHES': 1}
    asked = {'PROBLEMS': tiny.heldout, 'LIMIT': 3, 'SAMPLES': 4, 'MAX_TOKENS': 6, 'BATCH': 3}
    given = settings(
        workdir, model=tiny.model, methods={'online_rft': ('gin/miniature/online_rft.gin', {'LEARNING_RATE': 1e-2})},
        seeds=[3], training=training, evaluation=('gin/quickstart/evaluate.gin', asked), paper_order=['sft', 'online_rft'])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XLA_FLAGS', '--xla_backend_optimization_level=0')      # one device
        patch.setenv('JAX_COMPILATION_CACHE_DIR', str(compilation_cache))
        methods.run(**given)
    return given


@pytest.mark.slow
def test_every_method_and_seed_has_its_scores(study):
    found = json.loads((study['workdir'] / 'methods.json').read_text())
    assert list(found) == ['sft', 'online_rft'] and all(list(by_seed) == ['3'] for by_seed in found.values())
    for by_seed in found.values():
        assert SCORES <= set(by_seed['3']) and all(0 <= by_seed['3'][name] <= 1 for name in ('accuracy', 'maj', 'pass'))
        assert list(by_seed['3']['maj_at']) == list(by_seed['3']['pass_at']) == ['1', '2', '4']
    assert [by_seed['3']['samples'] for by_seed in found.values()] == [0, 2 * 2 * 4]
    html = (study['workdir'] / 'report.html').read_text()
    assert 'A study' in html and 'online_rft &gt; sft' in html


@pytest.mark.slow
def test_run_again_it_does_nothing_twice(study, monkeypatch):
    def refuse(stage, workdir, times):
        raise AssertionError(f'{stage.name} was run again')
    monkeypatch.setattr(stages, '_run_stage', refuse)
    path = study['workdir'] / 'methods.json'
    before = path.read_text()
    path.unlink()
    methods.run(**study)
    assert path.read_text() == before


def test_dry_run_lists_the_stages_and_writes_nothing(tmp_path, capsys):
    methods.run(**settings(tmp_path, seeds=[0, 1], dry_run=True))
    names = [line.split(' (to run)')[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ['sft.0.evaluate', 'rft.0', 'rft.0.evaluate', 'sft.1.evaluate', 'rft.1', 'rft.1.evaluate']
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('changed, message', [
    (dict(methods={'sft': ('gin/miniature/rft.gin', {})}), "'sft' is the start itself and no method to train"),
    (dict(paper_order=['rft', 'grpo']), "paper_order names 'grpo'; the methods are: sft, rft"),
    (dict(seeds=[]), r"methods=\['rft'\], seeds=\[\]: one of each at least was wanted"),
    (dict(methods={}), r'methods=\[\], seeds=\[0\]: one of each at least was wanted'),
    (dict(seeds=[0, 0]), "stage name 'sft.0.evaluate' is taken"),
    (dict(methods={'rft': ('absent.gin', {})}), 'stage rft.0: there is no file absent.gin'),
])
def test_bad_input_is_one_sentence(tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        methods.run(**settings(tmp_path, **changed))
    assert not list(tmp_path.iterdir())
