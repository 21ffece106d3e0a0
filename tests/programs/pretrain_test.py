"""The pretrain program: loss falls, the folder of a trained model is left, stopped and gone on with it is the same."""
import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from mathrl import sharding
from mathrl.checkpoint import Checkpoints
from mathrl.data import packed
from mathrl.metrics import read_metrics
from mathrl.models.llama import Llama
from mathrl.programs import pretrain, trained_model
from mathrl.text import tokenizer as tokenizers
from mathrl.train import optim
from mathrl.train.loop import Schedule
from mathrl.train.step import train_step


def settings(tiny, workdir, steps=30, **changed):
    rate = optim.constant(1e-2)
    defaults = dict(workdir=epath.Path(workdir), model=tiny.config, tokenizer=tiny.tokenizer, data=tiny.text,
                    mesh=sharding.make_mesh(2, 2, 2), optimizer=optim.adamw(rate), learning_rate=rate,
                    schedule=Schedule(steps=steps, save_every=100, log_every=5), batch=8, seed=3, config='# a config')
    return defaults | changed


def params(folder, tiny):
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    return jax.device_get(trained_model.open_params(str(folder), Llama(tiny.config), mesh))


@pytest.fixture(scope='module')
def trained(tiny, tmp_path_factory):
    """(folder of 30 steps, how often the update was compiled for it)."""
    workdir, before = tmp_path_factory.mktemp('pretrain'), train_step._cache_size()
    pretrain.run(**settings(tiny, workdir))
    return workdir, train_step._cache_size() - before


def test_loss_falls(trained):
    lines = read_metrics(trained[0] / 'metrics.jsonl')
    assert [line['step'] for line in lines] == [4, 9, 14, 19, 24, 29]
    for line in lines:
        assert {'loss', 'grad_norm', 'learning_rate', 'seconds', 'tokens_per_s'} <= set(line)
        np.testing.assert_allclose(line['learning_rate'], 1e-2, rtol=1e-6)
    losses = [line['loss'] for line in lines]
    assert losses[0] < np.log(280) and losses[-1] < 0.6 * losses[0], losses


def test_update_is_compiled_once(trained):
    assert trained[1] == 1


def test_it_leaves_a_trained_models_folder(trained, tiny):
    folder = trained[0]
    config, tokenizer = trained_model.open_config(str(folder))
    assert config == tiny.config and json.loads((folder / 'model.json').read_text())['width'] == 32
    assert (folder / 'tokenizer.model').read_bytes() == epath.Path(tiny.tokenizer).read_bytes()
    with Checkpoints(folder / 'checkpoints') as checkpoints:
        assert checkpoints.latest() == 30 and checkpoints.meta(30)['config'] == '# a config'


def test_stopped_and_gone_on_with_it_ends_with_the_same_bits(trained, tiny, tmp_path):
    pretrain.run(**settings(tiny, tmp_path, steps=13))
    pretrain.run(**settings(tiny, tmp_path))
    jax.tree.map(np.testing.assert_array_equal, params(tmp_path, tiny), params(trained[0], tiny))


# ---- a model to start from

def test_init_gives_the_weights_and_nothing_else(trained, tiny, tmp_path):
    rate = optim.constant(0.0)
    pretrain.run(**settings(tiny, tmp_path, steps=2, init=str(trained[0]), optimizer=optim.adamw(rate)))
    jax.tree.map(np.testing.assert_array_equal, params(tmp_path, tiny), params(trained[0], tiny))
    with Checkpoints(tmp_path / 'checkpoints') as checkpoints:
        assert checkpoints.latest() == 2, 'the step is fresh'
    assert trained_model.open_config(str(tmp_path))[0] == tiny.config


def test_weights_in_another_dtype_are_cast(tiny, tmp_path):
    half, mesh = dataclasses.replace(tiny.config, param_dtype='bfloat16'), sharding.make_mesh(devices=jax.devices()[:1])
    trained_model.begin(epath.Path(tmp_path), half, tokenizers.load(tiny.tokenizer))
    saved = trained_model.fresh_params(Llama(half), mesh, seed=7)
    with Checkpoints(tmp_path / 'checkpoints') as checkpoints:
        checkpoints.save(1, {'params': saved}, {})
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, np.float32(y)), params(tmp_path, tiny), saved)


@pytest.mark.parametrize('changed, message', [
    (dict(init='absent'), "INIT='absent' is not the folder of a trained model: it has no model.json"),
    (dict(model=trained_model.LlamaConfig(vocab=280, width=32, layers=3, heads=4, kv_heads=2, head_dim=8, mlp_width=32)),
     'architecture is not that of the model in .*, which has layers=2 and not 3'),
])
def test_a_wrong_start_is_one_sentence(tiny, tmp_path, changed, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        pretrain.run(**settings(tiny, tmp_path, **{'init': tiny.model} | changed))
    assert not list(tmp_path.iterdir())


def test_a_step_or_the_best_one_can_be_started_from(tiny, tmp_path):
    """The last updates are much too large."""
    rate = lambda step: jnp.where(step < 4, 1e-2, 3.0)
    pretrain.run(**settings(tiny, tmp_path, heldout={'solutions': tiny.solutions}, optimizer=optim.adamw(rate),
                            schedule=Schedule(6, save_every=2, measure_every=2, keep=1, best='-loss/solutions')))
    lines = read_metrics(tmp_path / 'metrics.jsonl')
    losses = {line['step'] + 1: line['loss/solutions'] for line in lines if 'loss/solutions' in line}
    best = min(losses, key=losses.get)
    assert sorted(losses) == [2, 4, 6] and best != 6
    jax.tree.map(np.testing.assert_array_equal, params(f'{tmp_path}@best', tiny), params(f'{tmp_path}@{best}', tiny))
    with pytest.raises(FileNotFoundError, match='@best: none of its checkpoints was measured'):
        params(f'{tiny.model}@best', tiny)


# ---- held-out text

def test_heldout_loss_and_bits_per_byte_are_those_of_the_definition(tiny, tmp_path):
    folder = tmp_path / 'heldout'
    shutil.copytree(tiny.solutions, folder)
    manifest = json.loads((folder / 'manifest.json').read_text()) | {'trained_tokens': 100, 'text_bytes': 250}
    (folder / 'manifest.json').write_text(json.dumps(manifest))
    rows = min(7, manifest['rows'])      # no whole number of batches
    (tmp_path / 'run').mkdir()
    pretrain.run(**settings(tiny, tmp_path / 'run', steps=5, heldout={'bytes': str(folder), 'none': tiny.solutions}, heldout_rows=rows,
                            schedule=Schedule(5, log_every=100, measure_every=3), batch=8, micro_batches=2))
    first, last = read_metrics(tmp_path / 'run' / 'metrics.jsonl')
    assert (first['step'], last['step']) == (2, 4) and last['loss/bytes'] == last['loss/none'] < first['loss/bytes']
    batch = packed.as_batch(packed.open_packed(folder).in_order(0, np.arange(rows)))
    model, trained = Llama(tiny.config), params(tmp_path / 'run', tiny)
    h_BTD = model.hidden(trained, batch['tokens_BT'], batch['segments_BT'], batch['positions_BT'])
    logps_BTV = np.asarray(jax.nn.log_softmax(model.logits(trained, h_BTD)))
    logps_BT = np.take_along_axis(logps_BTV, batch['targets_BT'][..., None], -1)[..., 0]
    loss = -logps_BT[batch['weights_BT'] == 1].mean()
    np.testing.assert_allclose(last['loss/bytes'], loss, rtol=1e-5)
    np.testing.assert_allclose(last['bits_per_byte/bytes'], loss / np.log(2) * 100 / 250, rtol=1e-5)
    assert 'bits_per_byte/none' not in last, 'its manifest counts no bytes'


def test_dry_run_prints_and_writes_nothing(tiny, tmp_path, capsys):
    pretrain.run(**settings(tiny, tmp_path, dry_run=True))
    printed = capsys.readouterr().out
    assert 'embed_VD' in printed and '30 steps of 8 rows' in printed and not list(tmp_path.iterdir())


@pytest.mark.parametrize('changed, message', [
    (dict(batch=6), 'a batch of 6 rows does not divide into 1 micro-batches over 4 devices'),
    (dict(heldout={'math': 'absent'}), 'absent is not a packed folder: there is no such folder'),
    (dict(schedule=Schedule(1, best='-loss/math')), "best='-loss/math' is measured on held-out rows, and heldout names none"),
    (dict(data='absent'), 'absent is not a packed folder: there is no such folder'),
    (dict(tokenizer='absent.model'), 'absent.model: there is no such tokenizer'),
])
def test_bad_input_is_one_sentence(tiny, tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        pretrain.run(**settings(tiny, tmp_path, **changed))
    assert not list(tmp_path.iterdir())


def test_vocabulary_larger_than_the_models_is_refused(tiny, tmp_path):
    small = trained_model.LlamaConfig(vocab=256, width=32, layers=2, heads=4, kv_heads=2, head_dim=8, mlp_width=32)
    with pytest.raises(ValueError, match='the model has vocab=256, the tokenizer .* has 275 pieces'):
        pretrain.run(**settings(tiny, tmp_path, model=small))


def test_rows_of_another_tokenizer_are_refused(tiny, tmp_path):
    manifest = json.loads((epath.Path(tiny.text) / 'manifest.json').read_text())
    for path in epath.Path(tiny.text).iterdir():
        path.copy(tmp_path / path.name)
    (tmp_path / 'manifest.json').write_text(json.dumps(manifest | {'tokenizer_digest': 'f' * 64}))
    (tmp_path / 'run').mkdir()
    with pytest.raises(ValueError, match='made with tokenizer ffffffffffff'):
        pretrain.run(**settings(tiny, tmp_path / 'run', data=str(tmp_path)))
