"""The sft program: starts from the given model with a fresh optimizer, and learns the answers alone."""
import dataclasses

import jax
import numpy as np
import pytest
from etils import epath

from mathrl import sharding
from mathrl.checkpoint import Checkpoints
from mathrl.data.packed import open_packed
from mathrl.metrics import read_metrics
from mathrl.models.llama import Llama
from mathrl.programs import language_model, sft, trained_model
from mathrl.train import optim
from mathrl.train.loop import Schedule


def settings(tiny, workdir, steps=30, rate=optim.constant(1e-2), **changed):
    defaults = dict(workdir=epath.Path(workdir), model=tiny.model, data=tiny.solutions,
                    mesh=sharding.make_mesh(2, 2, 2), optimizer=optim.adamw(rate), learning_rate=rate,
                    schedule=Schedule(steps=steps, save_every=100, log_every=1), batch=8, micro_batches=2, seed=3)
    return defaults | changed


@pytest.fixture(scope='module')
def trained(tiny, tmp_path_factory):
    workdir = tmp_path_factory.mktemp('sft')
    sft.run(**settings(tiny, workdir))
    return workdir


def mean_logps(folder, tiny):
    """(mean log-prob of what is trained on, of the prompts) over the rows of the first step."""
    model, mesh = Llama(tiny.config), sharding.make_mesh(devices=jax.devices()[:1])
    params = trained_model.open_params(str(folder), model, mesh)
    batch = open_packed(tiny.solutions).batch(seed=3, step=0, batch_size=8)
    h_BTD = model.hidden(params, batch['tokens_BT'], batch['segments_BT'], batch['positions_BT'])
    logps_BTV = np.asarray(jax.nn.log_softmax(model.logits(params, h_BTD)))
    logps_BT = np.take_along_axis(logps_BTV, batch['targets_BT'][..., None], -1)[..., 0]
    is_prompt_BT = (batch['weights_BT'] == 0) & (batch['segments_BT'] > 0)
    return logps_BT[batch['weights_BT'] == 1].mean(), logps_BT[is_prompt_BT].mean()


def test_loss_falls_from_the_given_models(trained, tiny):
    lines = read_metrics(trained / 'metrics.jsonl')
    losses = [line['loss'] for line in lines]
    assert losses[-1] < 0.5 * losses[0], losses
    assert {'loss', 'grad_norm', 'learning_rate', 'seconds', 'tokens_per_s'} <= set(lines[0])
    np.testing.assert_allclose(losses[0], -mean_logps(tiny.model, tiny)[0], rtol=1e-5)


def test_answers_are_learnt_and_prompts_are_not(trained, tiny):
    (answer_before, prompt_before), (answer, prompt) = mean_logps(tiny.model, tiny), mean_logps(trained, tiny)
    assert answer > answer_before + 2
    assert prompt < prompt_before + 1, 'the prompts were trained on'


def test_it_leaves_a_trained_models_folder(trained, tiny):
    config, _ = trained_model.open_config(str(trained))
    assert config == tiny.config
    assert (trained / 'tokenizer.model').read_bytes() == epath.Path(tiny.tokenizer).read_bytes()
    with Checkpoints(trained / 'checkpoints') as checkpoints:
        assert checkpoints.latest() == 30


def test_dry_run_prints_and_writes_nothing(tiny, tmp_path, capsys):
    sft.run(**settings(tiny, tmp_path, dry_run=True))
    assert '30 steps of 8 rows' in capsys.readouterr().out and not list(tmp_path.iterdir())


def test_model_that_is_no_models_folder_is_one_sentence(tiny, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match='has no model.json'):
        sft.run(**settings(tiny, tmp_path, model=str(tmp_path)))
    assert not list(tmp_path.iterdir())


def test_rows_of_another_length_are_one_sentence(tiny, tmp_path):
    with pytest.raises(ValueError, match='row_length=7, and the rows of .* have [0-9]+ tokens'):
        sft.run(**settings(tiny, tmp_path, row_length=7))


def test_an_architecture_changes_dtypes_and_remat_alone(tiny, tmp_path):
    other = dataclasses.replace(tiny.config, remat='full', param_dtype='bfloat16')
    assert language_model.agreed(other, tiny.config, 'here') == other
    with pytest.raises(ValueError, match=f'not that of the model in .*, which has layers={tiny.config.layers} and not 7'):
        sft.run(**settings(tiny, tmp_path, architecture=dataclasses.replace(tiny.config, layers=7)))
