"""Checkpoints: what is restored is what was saved, bit for bit, or the error says which leaf is not."""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathrl import sharding
from mathrl.checkpoint import Checkpoints, shapes_like, tree_digests

SIZES = [(1, 1, 1), (8, 1, 1), (1, 8, 1), (2, 2, 2)]


def mesh_of(sizes):
    return sharding.make_mesh(*sizes, devices=jax.devices()[:np.prod(sizes)])


def some_tree(seed=0, shape=(8, 16)):
    rng = np.random.default_rng(seed)
    normal = lambda *shape: rng.normal(size=shape).astype(np.float32)
    return {'embed_VD': normal(*shape), 'layers': {'up_DF': normal(2, 16, 8)}}


def placed(tree, sizes=(1, 1, 1)):
    mesh = mesh_of(sizes)
    return jax.device_put(tree, sharding.parameter_shardings(mesh, tree))


def saved(folder, **trees):
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, trees, {})


def assert_equal(tree, wanted):
    jax.tree.map(np.testing.assert_array_equal, tree, wanted)


def assert_one_sentence(error):
    assert '\n' not in str(error) and len(str(error)) < 800, str(error)


def assert_refused(folder, step, wanted, said):
    with Checkpoints(folder) as checkpoints, pytest.raises(ValueError, match=said) as caught:
        checkpoints.restore(step, wanted)
    assert_one_sentence(caught.value)


# ---- saved and restored

def test_trees_and_meta_come_back(tmp_path):
    params = placed(some_tree())
    other = {'step': jnp.int32(7), 'key': jnp.arange(2, dtype=jnp.uint32), 'half': jnp.ones(3, jnp.bfloat16)}
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest() is None
        checkpoints.save(3, {'params': params, 'rest': other}, {'config': 'a = 1\n', 'number': 2})
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest() == 3
        meta = checkpoints.meta(3)
        restored = checkpoints.restore(3, {'params': shapes_like(params), 'rest': shapes_like(other)})
    assert (meta['config'], meta['number']) == ('a = 1\n', 2)
    assert_equal(restored, {'params': params, 'rest': other})
    assert [x.dtype for x in jax.tree.leaves(restored)] == [x.dtype for x in jax.tree.leaves([params, other])]


def test_one_tree_of_several_can_be_asked_for(tmp_path):
    params = placed(some_tree())
    saved(tmp_path, params=params, rest={'step': jnp.int32(7)})
    with Checkpoints(tmp_path) as checkpoints:
        assert_equal(checkpoints.restore(1, {'params': shapes_like(params)}), {'params': params})


@pytest.mark.parametrize('before, after', [
    ((1, 1, 1), (2, 2, 2)), ((1, 8, 1), (8, 1, 1)), ((2, 2, 2), (1, 1, 1))], ids=str)
def test_a_checkpoint_is_restored_on_another_mesh(tmp_path, before, after):
    saved(tmp_path, params=placed(some_tree(), before))
    wanted = shapes_like(placed(some_tree(1), after))
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(1, {'params': wanted})['params']
    assert_equal(restored, some_tree())
    assert jax.tree.map(lambda x: x.sharding, restored) == jax.tree.map(lambda x: x.sharding, wanted)


def test_only_the_last_steps_stay(tmp_path):
    for keep, left in ((2, ['3', '4']), (None, ['1', '2', '3', '4'])):
        with Checkpoints(tmp_path / str(keep), keep=keep) as checkpoints:
            for step in range(1, 5):
                checkpoints.save(step, {'params': some_tree(step)}, {})
        assert sorted(path.name for path in (tmp_path / str(keep)).iterdir()) == left
        with Checkpoints(tmp_path / str(keep), keep=keep) as checkpoints:
            assert_equal(checkpoints.restore(3, {'params': shapes_like(placed(some_tree()))})['params'], some_tree(3))


def test_a_step_that_is_there_is_not_saved_again(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {'params': some_tree(0)}, {'which': 'first'})
        checkpoints.save(1, {'params': some_tree(1)}, {'which': 'second'})
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.meta(1)['which'] == 'first'


def test_what_is_saved_is_the_tree_at_the_call(tmp_path):
    """The next update is handed the saved state's memory, while the files are still being written."""
    forward = jax.jit(lambda tree: {'embed_VD': tree['embed_VD'] * 2 + 1}, donate_argnums=0)
    tree = forward({'embed_VD': jnp.ones((2048, 2048))})
    with Checkpoints(tmp_path, keep=None) as checkpoints:
        for step in range(3):
            checkpoints.save(step, {'params': tree}, {})
            tree = forward(forward(tree))
    with Checkpoints(tmp_path, keep=None) as checkpoints:
        for step in range(3):
            restored = checkpoints.restore(step, {'params': shapes_like(tree)})['params']
            np.testing.assert_array_equal(restored['embed_VD'], 4 ** (step + 1) - 1)


def test_a_half_written_step_is_not_there(tmp_path):
    saved(tmp_path, params=some_tree())
    (tmp_path / '2.orbax-checkpoint-tmp').mkdir()
    (tmp_path / '2.orbax-checkpoint-tmp' / 'params').mkdir()
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest() == 1


def test_the_best_step_stays_beside_the_last(tmp_path):
    scores = {1: 0.1, 2: 0.9, 3: None, 4: 0.5, 5: None}
    with Checkpoints(tmp_path, keep=2, best=True) as checkpoints:
        for step, score in scores.items():
            checkpoints.save(step, {'params': some_tree(step)}, {}, score)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['2', '4', '5']
    with Checkpoints(tmp_path, keep=2, best=True) as checkpoints:
        assert (checkpoints.best(), checkpoints.latest()) == (2, 5)
        checkpoints.save(6, {'params': some_tree(6)}, {}, 0.95)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['5', '6']


def test_without_scores_none_is_best(tmp_path):
    saved(tmp_path, params=some_tree())
    with Checkpoints(tmp_path, best=True) as checkpoints:
        assert checkpoints.best() is None


def test_how_it_lay_is_told_beside_it(tmp_path):
    saved(tmp_path, params=placed(some_tree(), (2, 2, 2)))
    with Checkpoints(tmp_path) as checkpoints:
        meta = checkpoints.meta(1)
    assert meta['layout'] == {'params': {'embed_VD': 'float32[8, 16] tensor, fsdp',
                                         'layers/up_DF': 'float32[2, 16, 8] -, fsdp, tensor'}}
    assert meta['processes'] == 1


def test_a_failed_save_is_told_is_not_there_and_holds_up_no_other(tmp_path, monkeypatch):
    """As of a disk that is full while the files are written, behind the run's back."""
    rename = os.rename

    def full(source, target, *more, **others):
        if 'orbax-checkpoint-tmp' in str(source):
            raise OSError(28, 'No space left on device')
        return rename(source, target, *more, **others)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {'params': some_tree(1)}, {})
        checkpoints.wait()
        with monkeypatch.context() as broken:
            broken.setattr(os, 'rename', full)
            checkpoints.save(2, {'params': some_tree(2)}, {})
            with pytest.raises(OSError, match=f'a checkpoint in {tmp_path} could not be saved: .*No space left.*steps here: .1.$'):
                checkpoints.wait()
        assert checkpoints.latest() == 1
        for step in (2, 3):      # the one that failed, and the next
            checkpoints.save(step, {'params': some_tree(step)}, {})
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest() == 3
        assert_equal(checkpoints.restore(2, {'params': shapes_like(placed(some_tree()))})['params'], some_tree(2))


SAVES = '''
import sys
import jax.numpy as jnp
from mathrl.checkpoint import Checkpoints
with Checkpoints(sys.argv[1]) as checkpoints:
    step = checkpoints.latest() or 0
    while True:
        step += 1
        checkpoints.save(step, {'params': {f'{name}_D': jnp.full((3000, 700), step, jnp.float32) for name in 'abc'}}, {})
        checkpoints.wait()
        print(step, flush=True)
'''


@pytest.mark.slow
def test_killed_at_any_moment_of_a_save_it_leaves_a_whole_last_step(tmp_path):
    rng, last, halves = np.random.default_rng(0), 0, 0
    for kill in range(80):
        if kill >= 20 and halves > 5:       # a quick disk is caught in a save less often
            break
        process = subprocess.Popen([sys.executable, '-c', SAVES, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        told = int(process.stdout.readline())
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        told = max([told, *(int(line) for line in process.communicate()[0].split())])
        halves += any('tmp' in path.name for path in tmp_path.iterdir())
        whole = shapes_like(jnp.zeros((3000, 700)))
        with Checkpoints(tmp_path) as checkpoints:
            step = checkpoints.latest()
            assert told <= step <= told + 1 and step > last, 'what was said to be saved is there'
            wanted = {f'{name}_D': whole for name in 'abc'}
            for x in checkpoints.restore(step, {'params': wanted})['params'].values():
                np.testing.assert_array_equal(x, step)
        last = step
    assert halves > 5, f'only {halves} kills fell into a save'


# ---- digests

@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'int32', 'uint32', 'int8', 'bool'])
def test_digests_do_not_depend_on_the_mesh(dtype):
    tree = jax.tree.map(lambda x: (x * 100).astype(dtype), jax.tree.map(jnp.asarray, some_tree()))
    digests = [tree_digests(placed(tree, sizes)) for sizes in SIZES]
    assert set(digests[0]) == {'embed_VD', 'layers/up_DF'}
    assert all(other == digests[0] for other in digests)


@pytest.mark.parametrize('dtype, bits', [
    ('float32', np.uint32), ('bfloat16', np.uint16), ('int32', np.uint32), ('int8', np.uint8)])
def test_every_flipped_bit_changes_the_digest(dtype, bits):
    x = np.random.default_rng(0).integers(0, 256, 5 * 3 * np.dtype(bits).itemsize, np.uint8).view(bits).reshape(5, 3)
    digest = lambda x: tree_digests({'x': jax.lax.bitcast_convert_type(jnp.asarray(x), jnp.dtype(dtype))})['x']
    digests = {digest(x)}
    for index in np.ndindex(x.shape):
        for bit in range(x.itemsize * 8) if index[0] < 2 else (0,):
            flipped = x.copy()
            flipped[index] ^= bits(1 << bit)
            digests.add(digest(flipped))
    assert len(digests) == 1 + 2 * 3 * x.itemsize * 8 + 3 * 3


def test_digests_tell_order_sign_of_zero_and_scalars_apart():
    values = [[1.0, 2.0], [2.0, 1.0], [0.0, 0.0], [0.0, -0.0], [float('nan'), 0.0]]
    assert len({tree_digests({'x': jnp.array(value)})['x'] for value in values}) == len(values)
    assert tree_digests({'x': jnp.float32(1)}) != tree_digests({'x': jnp.float32(2)})


# ---- what is wrong on disk

def files_of(folder):
    """The files that hold arrays' bytes, the largest first."""
    files = [path for path in pathlib.Path(folder).rglob('*') if path.is_file() and path.parent.name == 'd']
    return sorted(files, key=lambda path: -path.stat().st_size)


@pytest.mark.parametrize('where', [0.05, 0.3, 0.5, 0.7, 0.9])
def test_a_flipped_bit_on_disk_is_found(tmp_path, where):
    params = placed(some_tree(shape=(64, 64)))
    saved(tmp_path, params=params)
    file = files_of(tmp_path)[0]
    content = bytearray(file.read_bytes())
    content[int(len(content) * where)] ^= 4
    file.write_bytes(content)
    assert_refused(tmp_path, 1, {'params': shapes_like(params)}, f'checkpoint {tmp_path / "1"}')


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_twenty_random_flips_are_all_found_and_the_step_before_offered(tmp_path):
    """In any byte of any file of the arrays, indices and manifests of TensorStore's included."""
    rng, params = np.random.default_rng(0), placed(some_tree(shape=(64, 64)))
    with Checkpoints(tmp_path / 'good', keep=None) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, {'params': params}, {})
    silent = []
    for number in range(20):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / 'good', folder)
        files = [path for path in (folder / '2' / 'params').rglob('*') if path.is_file() and path.stat().st_size]
        sizes = np.array([path.stat().st_size for path in files])
        file = files[rng.choice(len(files), p=sizes / sizes.sum())]
        content = bytearray(file.read_bytes())
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        file.write_bytes(content)
        with Checkpoints(folder, keep=None) as checkpoints:
            try:
                restored = checkpoints.restore(2, {'params': shapes_like(params)}, offer=True)
                assert_equal(restored, {'params': params})      # a byte that nothing is read from
                silent.append(file.name)
            except ValueError as error:
                assert f'{folder / "2"}' in str(error) and 'step 1 is whole' in str(error), error
                assert_one_sentence(error)
    assert len(silent) < 5, f'flips in {silent} changed nothing'


def test_a_changed_leaf_is_named(tmp_path, monkeypatch):
    """As if the disk had given back other bits, which Orbax does not notice."""
    params = placed(some_tree())
    saved(tmp_path, params=params)
    with Checkpoints(tmp_path) as checkpoints:
        real = checkpoints._manager.restore

        def one_bit_flipped(step, args):
            trees = dict(real(step, args=args))
            if 'params' in trees:
                up_LDF = np.array(trees['params']['layers']['up_DF'])
                up_LDF.view(np.uint32)[1, 3, 5] ^= 1
                trees['params']['layers']['up_DF'] = jnp.asarray(up_LDF)
            return trees
        monkeypatch.setattr(checkpoints._manager, 'restore', one_bit_flipped)
        with pytest.raises(ValueError, match='params/layers/up_DF is not what was saved .* 1 of 2 leaves') as caught:
            checkpoints.restore(1, {'params': shapes_like(params)})
    assert_one_sentence(caught.value)


@pytest.mark.parametrize('wanted, said', [
    ({'reference': some_tree()}, 'reference was not saved; there are: params;'),
    ({'params': {'embed_VD': some_tree()['embed_VD']}},
     r'params/layers/up_DF is wanted as nothing and was saved as float32\[2, 16, 8\];'),
    ({'params': {**some_tree(), 'z_D': np.zeros(4, np.int32)}},
     r'params/z_D is wanted as int32\[4\] and was saved as nothing;'),
    ({'params': some_tree(shape=(8, 17))}, r'params/embed_VD is wanted as float32\[8, 17\] and .* float32\[8, 16\]'),
    ({'params': some_tree(shape=(4, 16))}, r'params/embed_VD is wanted as float32\[4, 16\] and .* float32\[8, 16\]'),
    ({'params': jax.tree.map(np.float16, some_tree())}, 'params/embed_VD is wanted as float16.* and .* float32')],
    ids=['item', 'fewer', 'more', 'larger', 'smaller', 'dtype'])
def test_asking_for_what_is_not_there_is_one_sentence(tmp_path, wanted, said):
    saved(tmp_path, params=some_tree())
    assert_refused(tmp_path, 1, shapes_like(jax.tree.map(jnp.asarray, wanted)), f'checkpoint {tmp_path / "1"}.*{said}')


# Orbax leaves coroutines behind when it cannot read.
@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
@pytest.mark.parametrize('item, part', [('params', 'd'), ('params', '_METADATA'), ('meta', 'metadata')])
def test_a_file_cut_short_is_one_sentence(tmp_path, item, part):
    saved(tmp_path, params=placed(some_tree(shape=(64, 64))))
    file = files_of(tmp_path)[0] if part == 'd' else tmp_path / '1' / item / part
    file.write_bytes(file.read_bytes()[:file.stat().st_size // 2])
    wanted = {'params': shapes_like(placed(some_tree(shape=(64, 64))))}
    assert_refused(tmp_path, 1, wanted, f'{tmp_path / "1"} cannot be restored')


def test_asking_for_a_step_that_is_not_there_is_one_sentence(tmp_path):
    saved(tmp_path, params=some_tree())
    assert_refused(tmp_path, 5, {'params': shapes_like(placed(some_tree()))}, f'checkpoint {tmp_path / "5"}')
