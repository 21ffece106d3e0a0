"""Meshes, layouts of parameters and activations, and arrays that are placed and scored row by row."""
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathrl import sharding
from mathrl.models.llama import Llama, LlamaConfig
from mathrl.train import optim
from mathrl.train.state import create

MODEL = Llama(LlamaConfig(vocab=40, width=16, layers=2, heads=4, kv_heads=2, head_dim=8, mlp_width=24))
EIGHT = [(8, 1, 1), (1, 8, 1), (2, 2, 2)]


def mesh_of(sizes):
    return sharding.make_mesh(*sizes, devices=jax.devices()[:np.prod(sizes)])


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def model_shapes():
    return jax.eval_shape(MODEL.init, jax.random.key(0))


def assert_one_sentence(caught):
    assert '\n' not in str(caught.value)


# ---- the mesh

@pytest.mark.parametrize('asked, sizes', [
    ((), (8, 1, 1)), ((-1, 2), (4, 2, 1)), ((1, -1, 2), (1, 4, 2)), ((2, 2, -1), (2, 2, 2)),
    ((2, 4, 1), (2, 4, 1))], ids=str)
def test_a_mesh_covers_the_devices(asked, sizes):
    mesh = sharding.make_mesh(*asked)
    assert mesh.shape == dict(zip(('data', 'fsdp', 'tensor'), sizes))
    assert sharding.batch_devices(mesh) == sizes[0] * sizes[1]
    assert len({device.id for device in mesh.devices.flat}) == 8


@pytest.mark.parametrize('asked, said', [((3, 1, 1), 'data=3 x fsdp=1 x tensor=1 does not fit the 8 devices'),
                                         ((-1, 3), 'fsdp=3 x tensor=1 does not fit the 8 devices'),
                                         ((-1, -1), 'at most one of them is -1'), ((0, 8), 'sizes are positive'),
                                         ((-2, -4), 'sizes are positive'),
                                         ((16,), 'data=16 .* does not fit the 8')], ids=str)
def test_a_mesh_that_does_not_fit_is_one_sentence(asked, said):
    with pytest.raises(ValueError, match=said) as caught:
        sharding.make_mesh(*asked)
    assert_one_sentence(caught)


# ---- parameters

def test_axes_are_read_off_the_name():
    assert sharding.parameter_axes('layers/q_DNH', 3) == 'DNH'
    assert sharding.parameter_axes('layers/q_DNH', 4) == 'LDNH'
    assert sharding.parameter_axes('layers/attention_norm_D', 2) == 'LD'
    assert sharding.parameter_axes('embed_VD', 2) == 'VD'


@pytest.mark.parametrize('tree, said', [
    ({'layers': {'q_XYZ': shape(2, 2, 2)}}, 'parameter layers/q_XYZ with 3 axes has no sharding rule'),
    ({'bias': shape(4)}, 'parameter bias with 1 axes has no sharding rule'),
    ({'q_DNH': shape(2, 2)}, 'parameter q_DNH with 2 axes has no sharding rule'),
    ({'a_BD': shape(2, 2)}, 'parameter a_BD: axis B is an axis of activations'),
    ({'head': {'a_DD': shape(16, 16)}}, 'parameter head/a_DD: two of its axes DD lie on the mesh axis fsdp'),
    ({'a_VF': shape(4, 4)}, 'parameter a_VF: two of its axes VF lie on the mesh axis tensor'),
    ({'a_DF': shape(16, 3)}, 'parameter a_DF: axis F of size 3 does not divide over tensor=2'),
    ({'norm_D': shape(7)}, 'parameter norm_D: axis D of size 7 does not divide over fsdp=2')], ids=str)
def test_a_parameter_that_cannot_be_laid_out_is_one_sentence(tree, said):
    with pytest.raises(ValueError, match=said) as caught:
        sharding.parameter_shardings(mesh_of((2, 2, 2)), tree)
    assert_one_sentence(caught)


@pytest.mark.parametrize('sizes', EIGHT, ids=str)
def test_no_parameter_lies_whole_where_fsdp_cuts(sizes):
    mesh, shapes = mesh_of(sizes), model_shapes()
    for (path, leaf), where in zip(jax.tree_util.tree_flatten_with_path(shapes)[0],
                                   jax.tree.leaves(sharding.parameter_shardings(mesh, shapes))):
        name, share = sharding.path_text(path), np.prod(where.shard_shape(leaf.shape)) / np.prod(leaf.shape)
        cut = sizes[1] if 'norm' in name else sizes[1] * sizes[2]     # a norm scale has no axis for tensor
        assert share == 1 / cut, name


def test_moments_lie_like_their_parameters_and_scalars_everywhere():
    mesh, shapes = mesh_of((2, 2, 2)), model_shapes()
    state = jax.eval_shape(lambda params: create(params, optim.adamw(optim.constant(0.1))), shapes)
    layouts = sharding.tree_shardings(mesh, state, shapes)
    wanted = sharding.parameter_shardings(mesh, shapes)
    adam = layouts.opt_state[1][0]
    assert layouts.params == wanted and adam.mu == wanted and adam.nu == wanted
    assert layouts.step == adam.count == sharding.replicated(mesh)
    assert jax.tree.structure(layouts) == jax.tree.structure(state)


# ---- activations

def laid_out(mesh, sizes, axes):
    """What one device holds of an array of these sizes behind constrain(x, axes)."""
    with jax.set_mesh(mesh):
        x = jax.jit(lambda: sharding.constrain(jnp.arange(np.prod(sizes)).reshape(sizes), axes))()
    np.testing.assert_array_equal(x, np.arange(np.prod(sizes)).reshape(sizes))
    return x.sharding.shard_shape(x.shape)


@pytest.mark.parametrize('sizes, axes, wanted', [
    ((8, 6, 16), 'BTD', (2, 6, 16)),
    ((8, 6, 4, 8), 'BTNH', (2, 6, 2, 8)),
    ((8, 3, 6, 24), 'QGTF', (2, 3, 6, 12)),
    ((8, 6, 3), 'BTN', (2, 6, 3)),              # heads that do not divide lie whole
    ((6, 3), 'BT', (6, 3)),
    ((2, 4, 5), 'QGT', (1, 2, 5))], ids=str)
def test_constrain_cuts_by_the_rules(sizes, axes, wanted):
    assert laid_out(mesh_of((2, 2, 2)), sizes, axes) == wanted


def test_fewer_questions_than_devices_are_cut_row_by_row():
    """Where the layout has no name of its own (2 x 4 rows on one axis of 8), each device still computes one row."""
    mesh = mesh_of((8, 1, 1))
    with jax.set_mesh(mesh):
        compiled = jax.jit(lambda x: sharding.constrain(sharding.constrain(x, 'QGD') * 2, 'QGD').sum(-1)).lower(
            jnp.ones((2, 4, 16))).compile()
    assert 'f32[2,4,16]{2,1,0} multiply' not in compiled.as_text(), 'every device computes all rows'
    np.testing.assert_array_equal(compiled(jnp.ones((2, 4, 16))), 32)


def test_constrain_outside_a_mesh_does_nothing():
    x = jnp.ones((2, 3))
    assert sharding.constrain(x, 'BT') is x
    with jax.set_mesh(mesh_of((1, 1, 1))):
        assert sharding.constrain(x, 'BT') is x


@pytest.mark.parametrize('axes, said', [('BTD', "'BTD' names 3 axes of an array of shape \\(8, 4\\)"),
                                        ('BX', 'no sharding rule for axis X of BX'), ('BQ', 'two axes of BQ'),
                                        ('NF', 'two axes of NF')])
def test_a_wrong_constraint_is_one_sentence(axes, said):
    with jax.set_mesh(mesh_of((2, 2, 2))), pytest.raises(ValueError, match=said) as caught:
        sharding.constrain(jnp.ones((8, 4)), axes)
    assert_one_sentence(caught)


# ---- from the host and back

@pytest.mark.parametrize('sizes', [(1, 1, 1)] + EIGHT, ids=str)
@pytest.mark.parametrize('axes, lengths', [
    ('QS', (8, 5)), ('Q', (8,)), ('QS', (3, 5)), ('QGT', (8, 2, 3)), ('QGT', (2, 8, 3)), ('QGT', (3, 2, 2)),
    ('BT', (16, 2))], ids=str)
def test_placed_arrays_are_what_they_were(sizes, axes, lengths):
    mesh, x = mesh_of(sizes), np.random.default_rng(0).integers(0, 100, lengths).astype(np.int32)
    placed = sharding.place(mesh, x, axes)
    assert placed.dtype == np.int32 and placed.sharding.mesh == mesh
    np.testing.assert_array_equal(placed, x)
    np.testing.assert_array_equal(sharding.to_host(placed), x)
    held = placed.addressable_shards[0].data.size
    batch = sharding.batch_devices(mesh)
    divides = lengths[0] % batch == 0 or (axes == 'QGT' and lengths[1] % batch == 0)
    assert held == (x.size // batch if divides else x.size)


def test_named_arrays_are_placed_by_their_names():
    mesh = mesh_of((8, 1, 1))
    placed = sharding.place_named(mesh, {'tokens_BT': np.ones((8, 2), np.int32), 'scale_D': np.ones(4, np.float32)})
    assert placed['tokens_BT'].addressable_shards[0].data.shape == (1, 2)
    assert placed['scale_D'].sharding.is_fully_replicated


@pytest.mark.parametrize('lengths', [(8, 2, 3), (2, 8, 3), (2, 4, 3), (3, 2, 3)], ids=str)
@pytest.mark.parametrize('sizes', [(1, 1, 1)] + EIGHT, ids=str)
def test_map_rows_scores_every_row_by_its_question(sizes, lengths):
    x_QGT = np.random.default_rng(0).integers(0, 100, lengths).astype(np.int32)
    placed_QGT, calls = sharding.place(mesh_of(sizes), x_QGT, 'QGT'), []

    def score(questions, rows_QGT):
        calls.append(rows_QGT.size)
        assert rows_QGT.shape[0] == len(questions)
        number_QGT = np.broadcast_to(np.array(questions)[:, None, None], rows_QGT.shape)
        return rows_QGT.astype(np.float32) / 2, number_QGT.astype(np.int32)
    halves_QGT, number_QGT = sharding.map_rows(score, placed_QGT)
    np.testing.assert_array_equal(halves_QGT, x_QGT / 2)
    np.testing.assert_array_equal(number_QGT, np.broadcast_to(np.arange(lengths[0])[:, None, None], lengths))
    assert (halves_QGT.dtype, number_QGT.dtype) == (np.float32, np.int32)
    assert halves_QGT.sharding == placed_QGT.sharding
    assert sum(calls) == x_QGT.size, 'copies of a row are scored once'


def test_layouts_read_well():
    """An entry an axis; what is whole at the end is left out."""
    mesh = mesh_of((2, 2, 2))
    layouts = sharding.parameter_shardings(mesh, {'q_DNH': shape(2, 16, 4, 8), 'norm_D': shape(16)})
    assert sharding.layout_text(layouts['q_DNH']) == '-, fsdp, tensor'
    assert sharding.layout_text(layouts['norm_D']) == 'fsdp'
    assert sharding.layout_text(sharding.replicated(mesh)) == 'whole'
    assert sharding.layout_text(sharding.place(mesh, np.ones((4, 2)), 'BT').sharding) == 'dataxfsdp'


# ---- parameters in use

@pytest.mark.parametrize('sizes', [(1, 1, 1)] + EIGHT, ids=str)
@pytest.mark.parametrize('lengths, axes', [((8, 6), 'BT'), ((2, 8, 4), 'QGT'), ((2, 8), 'QS'), ((3, 5), 'BT')], ids=str)
def test_look_up_is_indexing_with_its_gradient(sizes, lengths, axes, capfd):
    mesh, rng = mesh_of(sizes), np.random.default_rng(0)
    table_VD, tokens = rng.normal(size=(48, 16)).astype(np.float32), rng.integers(0, 48, lengths).astype(np.int32)
    loss = lambda table_VD, look_up: jnp.sum(look_up(table_VD) ** 3)
    with jax.set_mesh(mesh):
        table = jax.device_put(table_VD, sharding.parameter_shardings(mesh, {'embed_VD': table_VD})['embed_VD'])
        placed = sharding.place(mesh, tokens, axes)
        found = jax.jit(lambda table, placed: jax.value_and_grad(loss)(
            table, lambda table_VD: sharding.constrain(sharding.look_up(table_VD, placed), axes + 'D')))(table, placed)
    wanted = jax.value_and_grad(loss)(jnp.asarray(table_VD), lambda table_VD: table_VD[tokens])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, wanted)
    assert 'Involuntary full rematerialization' not in capfd.readouterr().err


def test_gathered_parameters_are_cut_over_tensor_alone():
    mesh = mesh_of((2, 2, 2))
    with jax.set_mesh(mesh):
        params = jax.device_put({'up_DF': np.ones((16, 24), np.float32)},
                                sharding.parameter_shardings(mesh, {'up_DF': shape(16, 24)}))
        gathered = jax.jit(lambda params: sharding.gather_parameters(params, 'bfloat16'))(params)
    assert gathered['up_DF'].dtype == jnp.bfloat16 and sharding.layout_text(gathered['up_DF'].sharding) == '-, tensor'


def test_questions_too_few_for_all_devices_are_cut_over_data():
    mesh = mesh_of((2, 4, 1))
    assert sharding.layout_text(sharding.placed_sharding(mesh, (2, 8), 'QS')) == 'data'
    assert sharding.layout_text(sharding.placed_sharding(mesh, (2, 8, 5), 'QGT')) == 'data, fsdp'
    assert sharding.layout_text(sharding.placed_sharding(mesh, (3, 8, 5), 'QGT')) == '-, dataxfsdp'


@pytest.mark.parametrize('asked, said', [((1, 8), 'data alone crosses slices'), ((3, 8, 1), 'does not fit')])
def test_only_data_crosses_slices(asked, said):
    devices = [types.SimpleNamespace(id=i, slice_index=i // 4, platform='tpu', device_kind='x', process_index=0) for i in range(8)]
    with pytest.raises(ValueError, match=said):
        sharding.make_mesh(*asked, devices=devices)


def test_meshes_for_absent_devices_are_made_inside_the_block_alone():
    with sharding.compile_for(jax.devices()[:2]):
        assert sharding.make_mesh().size == 2
    assert sharding.make_mesh().size == 8
