"""The model against its equations in slow NumPy; causal, packed, decoding from a cache, prompts that are shared."""
import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathrl import sharding
from mathrl.models import llama, units
from mathrl.models.attention import RopeScaling
from mathrl.models.cache import Places, empty_row_cache
from mathrl.models.llama import Llama, LlamaConfig, config_from_json
from mathrl.models.units import Placement
from mathrl.sharding import parameter_axes, path_text

# head_dim x heads is not the width, and kv_heads < heads: mixed-up axes must not fit by chance.
CONFIG = LlamaConfig(vocab=40, width=16, layers=2, heads=4, kv_heads=2, head_dim=8, mlp_width=24)
DOUBLE = dataclasses.replace(CONFIG, param_dtype='float64', dtype='float64')
PROMPT_LENGTHS = (1, 3, 7)
OUTPUTS, TOKENS, WIDTH = 2, 6, 8


def random_params(seed=0, dtype=np.float32):
    """Parameters from NumPy, norm scales away from 1."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(Llama(CONFIG).init, jax.random.key(0))

    def draw(path, leaf):
        values = rng.normal(size=leaf.shape) * 0.3
        return (values + 1 if 'norm' in path_text(path) else values).astype(dtype)
    return jax.tree_util.tree_map_with_path(draw, shapes)


def packed_rows():
    """(tokens, segments, positions), [2, 12]: two examples and padding, then one long example."""
    tokens_BT = np.random.default_rng(1).integers(0, CONFIG.vocab, (2, 12))
    segments_BT = np.array([[1] * 5 + [2] * 4 + [0] * 3, [1] * 12])
    positions_BT = np.array([[*range(5), *range(4), *range(3)], [*range(12)]])
    return tokens_BT, segments_BT, positions_BT


@functools.partial(jax.jit, static_argnums=0)
def forward(model, params, tokens_BT, segments_BT, positions_BT):
    return model.logits(params, model.hidden(params, tokens_BT, segments_BT, positions_BT))


def plain_forward(model, params, tokens_BT):
    positions_BT = np.broadcast_to(np.arange(tokens_BT.shape[1]), tokens_BT.shape)
    return forward(model, params, tokens_BT, np.ones_like(tokens_BT), positions_BT)


# ---- the equations, one number at a time where that is readable

def numpy_forward(params, tokens_T, positions_T, sees, config):
    """Logits [T, V] in float64; sees(t, s): may position t read position s?"""
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    h_TD = params['embed_VD'][tokens_T]
    for layer in range(config.layers):
        p = {name: x[layer] for name, x in params['layers'].items()}
        x_TD = numpy_norm(h_TD, p['attention_norm_D'])
        h_TD = h_TD + numpy_attention(x_TD, positions_T, sees, p, config)
        x_TD = numpy_norm(h_TD, p['mlp_norm_D'])
        gate_TF = x_TD @ p['gate_DF']
        h_TD = h_TD + (gate_TF / (1 + np.exp(-gate_TF)) * (x_TD @ p['up_DF'])) @ p['down_FD']
    return numpy_norm(h_TD, params['norm_D']) @ params['unembed_DV']


def numpy_norm(x_TD, scale_D):
    return np.stack([x_D / np.sqrt(np.mean(x_D ** 2) + CONFIG.norm_eps) * scale_D for x_D in x_TD])


def numpy_attention(x_TD, positions_T, sees, p, config):
    mixed_TD = np.zeros_like(x_TD)
    for n in range(config.heads):
        k = n // (config.heads // config.kv_heads)
        q_TH = [numpy_rotary(x_D @ p['q_DNH'][:, n], at) for x_D, at in zip(x_TD, positions_T)]
        k_TH = [numpy_rotary(x_D @ p['k_DKH'][:, k], at) for x_D, at in zip(x_TD, positions_T)]
        for t, q_H in enumerate(q_TH):
            scores = {s: q_H @ k_TH[s] / np.sqrt(config.head_dim) for s in range(len(x_TD)) if sees(t, s)}
            total = sum(np.exp(score) for score in scores.values())
            mixed_H = sum(np.exp(score) / total * (x_TD[s] @ p['v_DKH'][:, k]) for s, score in scores.items())
            mixed_TD[t] += mixed_H @ p['o_NHD'][n]
    return mixed_TD


def numpy_rotary(x_H, position):
    """Coordinates i and i + H/2 turn as one complex number, by position * 10000^(-2i/H)."""
    half = len(x_H) // 2
    turned = (x_H[:half] + 1j * x_H[half:]) * np.exp(1j * position * 10000.0 ** (-np.arange(half) * 2 / len(x_H)))
    return np.concatenate([turned.real, turned.imag])


def numpy_packed(params, config=CONFIG):
    tokens_BT, segments_BT, positions_BT = packed_rows()
    logits = []
    for tokens_T, segments_T, positions_T in zip(tokens_BT, segments_BT, positions_BT):
        sees = lambda t, s: s <= t and segments_T[s] == segments_T[t]
        logits.append(numpy_forward(params, tokens_T, positions_T, sees, config))
    return np.stack(logits)


def test_forward_agrees_with_numpy_in_float32():
    params = random_params()
    np.testing.assert_allclose(forward(Llama(CONFIG), params, *packed_rows()), numpy_packed(params), atol=3e-5)


def test_forward_agrees_with_numpy_in_float64():
    params = random_params(dtype=np.float64)
    with jax.enable_x64(True):
        logits_BTV = np.asarray(forward(Llama(DOUBLE), params, *packed_rows()))
    assert logits_BTV.dtype == np.float64, 'a float64 model fell back to float32 on the way'
    np.testing.assert_allclose(logits_BTV, numpy_packed(params), atol=1e-10)


def test_bfloat16_activations_stay_near_float32():
    params, model = random_params(), Llama(dataclasses.replace(CONFIG, dtype='bfloat16'))
    logits_BTV = forward(model, params, *packed_rows())
    assert logits_BTV.dtype == jnp.float32
    wanted_BTV = numpy_packed(params)
    error = np.abs(np.asarray(logits_BTV) - wanted_BTV).max() / np.abs(wanted_BTV).max()
    assert 1e-5 < error < 0.05, f'relative error {error}: bfloat16 has 8 bits'


# ---- who sees whom

def test_a_token_changes_nothing_before_it():
    model, params = Llama(CONFIG), random_params()
    tokens_BT = np.random.default_rng(2).integers(0, CONFIG.vocab, (1, 12))
    before_BTV = np.asarray(plain_forward(model, params, tokens_BT))
    for t in (0, 5, 11):
        changed_BT = tokens_BT.copy()
        changed_BT[0, t] = (changed_BT[0, t] + 7) % CONFIG.vocab
        after_BTV = np.asarray(plain_forward(model, params, changed_BT))
        np.testing.assert_array_equal(after_BTV[:, :t], before_BTV[:, :t])
        assert (np.abs(after_BTV - before_BTV).max((0, 2))[t:] > 1e-4).all(), 'every later position sees the change'


def test_packed_examples_do_not_see_one_another():
    model, params = Llama(CONFIG), random_params()
    tokens_BT, segments_BT, positions_BT = packed_rows()
    packed_BTV = forward(model, params, tokens_BT, segments_BT, positions_BT)
    for part in (slice(0, 5), slice(5, 9)):
        alone_BTV = plain_forward(model, params, tokens_BT[:1, part])
        np.testing.assert_allclose(packed_BTV[:1, part], alone_BTV, atol=3e-5)


def test_the_gradient_of_an_example_does_not_reach_its_neighbours():
    model, params = Llama(CONFIG), random_params()
    _, segments_BT, positions_BT = packed_rows()
    tokens_BT = np.arange(24).reshape(2, 12)     # every position has a row of the embedding to itself

    @jax.jit
    def embedding_gradient(weights_BT):
        def loss(params):
            logits_BTV = forward(model, params, tokens_BT, segments_BT, positions_BT)
            return jnp.sum(jax.nn.log_softmax(logits_BTV)[..., 0] * weights_BT)
        return jax.grad(loss)(params)['embed_VD']
    for segment in (1, 2):
        weights_BT = np.where(segments_BT == segment, 1.0, 0.0) * np.array([[1], [0]])
        touched = np.abs(np.asarray(embedding_gradient(weights_BT))).sum(-1)[:24].reshape(2, 12) > 0
        np.testing.assert_array_equal(touched, weights_BT > 0)


# ---- how the layers are looped over

@functools.cache
def loss_and_gradients(**change):
    """Of a loss that tells every hidden state apart, for a model whose layers are looped over in another way."""
    model, (tokens_BT, segments_BT, positions_BT) = Llama(dataclasses.replace(CONFIG, **change)), packed_rows()
    weights_BT = np.random.default_rng(3).normal(size=tokens_BT.shape)

    def loss(params):
        logits_BTV = forward(model, params, tokens_BT, segments_BT, positions_BT)
        return jnp.sum(jax.nn.log_softmax(logits_BTV)[..., 0] * weights_BT)
    return jax.jit(jax.value_and_grad(loss))(random_params())


def test_remat_computes_again_what_it_says():
    """Products in a layer: 7 of a weight, 2 of attention; each has two more in the backward pass."""
    def products(remat):
        model, tokens = Llama(dataclasses.replace(CONFIG, remat=remat)), jax.ShapeDtypeStruct((2, 12), jnp.int32)
        loss = lambda params, tokens: jnp.sum(model.hidden(params, tokens, tokens, tokens))
        return jax.jit(jax.grad(loss)).lower(random_params(), tokens).as_text().count('dot_general')
    assert [products(remat) - products('') for remat in ('dots', 'full')] == [2, 8]     # all but the last, whose result is not read


@pytest.mark.parametrize('change', [{'unroll': 2}, {'remat': 'full'}, {'remat': 'dots'}], ids=str)
def test_unroll_and_remat_change_nothing(change):
    (value, grads), (other, other_grads) = loss_and_gradients(), loss_and_gradients(**change)
    np.testing.assert_allclose(other, value, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max()), other_grads, grads)


def test_the_gradient_of_swiglu_is_autodiffs():
    gate, up, slope = (np.random.default_rng(seed).normal(size=(50, 40)) * 4 for seed in range(3))
    gate[0], gate[1] = np.linspace(-100, 100, 40), 0
    gradients = lambda swiglu: jax.jit(jax.grad(lambda gate, up: jnp.sum(swiglu(gate, up) * slope), (0, 1)))(gate, up)
    for got, wanted in zip(gradients(llama._swiglu), gradients(lambda gate, up: jax.nn.silu(gate) * up)):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_a_layer_keeps_three_arrays_as_wide_as_the_mlp():
    """Gate, up and their product, for the backward pass; XLA's CPU backend would keep the sigmoid too. Less than one more is the rest."""
    tokens, wide = jax.ShapeDtypeStruct((2, 64), jnp.int32), 2 * 64 * 2048 * 4

    def memory(layers):
        model = Llama(dataclasses.replace(CONFIG, mlp_width=2048, layers=layers, unroll=layers))
        loss = lambda params, tokens: jnp.sum(model.hidden(params, tokens, tokens, tokens) ** 2)
        program = jax.jit(jax.grad(loss)).lower(jax.eval_shape(model.init, jax.random.key(0)), tokens).compile()
        return program.memory_analysis().temp_size_in_bytes
    assert 3 < (memory(4) - memory(2)) / (2 * wide) < 4


# ---- parameters

def test_every_parameter_is_named_by_its_axes():
    sizes = {'V': 40, 'D': 16, 'N': 4, 'K': 2, 'H': 8, 'F': 24, 'L': 2}
    shapes = jax.tree_util.tree_flatten_with_path(jax.eval_shape(Llama(CONFIG).init, jax.random.key(0)))[0]
    assert len(shapes) == 12
    for path, leaf in shapes:
        axes = parameter_axes(path_text(path), len(leaf.shape))
        assert leaf.shape == tuple(sizes[letter] for letter in axes), path_text(path)


def test_fresh_parameters_have_the_written_scales_and_follow_the_key():
    init, key = jax.jit(Llama(CONFIG).init), functools.partial(jax.random.key, impl='rbg')     # rbg compiles fastest
    params = init(key(0))
    jax.tree.map(np.testing.assert_array_equal, params, init(key(0)))
    layers, residual = params['layers'], (2 * CONFIG.layers) ** -0.5
    for name in ('attention_norm_D', 'mlp_norm_D'):
        np.testing.assert_array_equal(layers[name], 1)
    for values, wanted in [(params['embed_VD'], 1 / 4), (params['unembed_DV'], 1 / 4), (layers['q_DNH'], 1 / 4),
                           (layers['o_NHD'], residual * 32 ** -0.5), (layers['down_FD'], residual * 24 ** -0.5)]:
        assert np.std(values) == pytest.approx(wanted, rel=0.1)
    assert np.abs(layers['q_DNH'][0] - layers['q_DNH'][1]).min() > 0, 'layers must not share their random numbers'
    assert np.abs(params['embed_VD'] - init(key(1))['embed_VD']).min() > 0


@pytest.mark.parametrize('change, said', [({'kv_heads': 3}, 'kv_heads=3 does not divide heads=4'),
                                          ({'head_dim': 7}, 'head_dim=7 must be even'),
                                          ({'remat': 'all'}, "unknown remat 'all'; there are: '', 'full', 'dots'")])
def test_a_wrong_config_is_one_sentence(change, said):
    with pytest.raises(ValueError, match=said) as caught:
        dataclasses.replace(CONFIG, **change)
    assert '\n' not in str(caught.value)


def test_a_config_comes_back_from_json():
    config = dataclasses.replace(CONFIG, rope_scaling=RopeScaling(factor=4.0), remat='dots', tied=True)
    fields = json.loads(json.dumps(dataclasses.asdict(config)))
    assert config_from_json(fields) == config
    for older, policy in [(True, 'full'), (False, '')]:
        assert config_from_json(fields | {'remat': older}).remat == policy
    with pytest.raises(ValueError, match="a model has no 'rope'; there are: vocab, width"):
        config_from_json(fields | {'rope': 1})


# ---- prompts of different lengths, padded on the right, and the outputs behind them

def prompts_and_outputs(padding=0):
    """(prompt_QS, length_Q, tokens_QGT); `padding` is the token behind a prompt."""
    rng = np.random.default_rng(4)
    prompt_QS = rng.integers(0, CONFIG.vocab, (len(PROMPT_LENGTHS), WIDTH))
    length_Q = np.array(PROMPT_LENGTHS)
    prompt_QS[np.arange(WIDTH) >= length_Q[:, None]] = padding
    return prompt_QS, length_Q, rng.integers(0, CONFIG.vocab, (len(PROMPT_LENGTHS), OUTPUTS, TOKENS))


def full_rows(prompt_QS, length_Q, tokens_QGT):
    """Each output behind its prompt as a plain row, [Q*G, WIDTH + TOKENS], padded on the right."""
    rows = np.zeros((len(length_Q), OUTPUTS, WIDTH + TOKENS), int)
    for q, g in np.ndindex(rows.shape[:2]):
        row = [*prompt_QS[q, :length_Q[q]], *tokens_QGT[q, g]]
        rows[q, g, :len(row)] = row
    return rows.reshape(-1, WIDTH + TOKENS)


def output_columns(x_BTV, length_Q):
    """[Q*G, WIDTH + TOKENS, V] -> [Q, G, TOKENS, V], the columns behind each prompt."""
    x_QGTV = x_BTV.reshape((len(length_Q), OUTPUTS) + x_BTV.shape[1:])
    return jnp.take_along_axis(x_QGTV, (length_Q[:, None] + np.arange(TOKENS))[:, None, :, None], axis=2)


@functools.partial(jax.jit, static_argnums=0)
def shared_logits(model, params, prompt_QS, length_Q, tokens_QGT):
    return model.logits(params, model.behind_prompts(params, tokens_QGT, prompt_QS, length_Q))


@functools.partial(jax.jit, static_argnums=0)
def decoded_logits(model, params, prompt_QS, length_Q, tokens_QGT):
    """Token by token, each step's logits -> [Q, G, T, V]."""
    rows, decoded = tokens_QGT.shape[0] * OUTPUTS, model.decoder_params(params)
    prompts = model.prefill_rows(decoded, prompt_QS, model.config.dtype)
    none_B, behind_B = jnp.zeros(rows, jnp.int32), jnp.repeat(length_Q, OUTPUTS)
    step = model.row_decoder(decoded, prompts, length_Q, [], none_B, behind_B, Places(OUTPUTS))

    def advance(page, token):
        h_BD, page = step(token[0], page, token[1])
        return page, model.logits(params, h_BD)
    page, tokens_TB = empty_row_cache(prompts, rows, TOKENS), tokens_QGT.reshape(rows, TOKENS).T
    logits_TBV = jax.lax.scan(advance, page, (tokens_TB, jnp.arange(TOKENS)))[1]
    return jnp.moveaxis(logits_TBV, 0, 1).reshape(tokens_QGT.shape + (-1,))


def full_logits(model, params, prompt_QS, length_Q, tokens_QGT):
    return output_columns(plain_forward(model, params, full_rows(prompt_QS, length_Q, tokens_QGT)), length_Q)


def test_cached_decoding_equals_the_full_forward():
    model, params, case = Llama(CONFIG), random_params(), prompts_and_outputs()
    np.testing.assert_allclose(decoded_logits(model, params, *case), full_logits(model, params, *case), atol=3e-5)


def test_outputs_behind_a_shared_prompt_equal_the_full_forward():
    model, params, case = Llama(CONFIG), random_params(), prompts_and_outputs()
    np.testing.assert_allclose(shared_logits(model, params, *case), full_logits(model, params, *case), atol=3e-5)


def test_an_empty_prompt_is_no_prompt():
    model, params, (prompt_QS, length_Q, tokens_QGT) = Llama(CONFIG), random_params(), prompts_and_outputs()
    case = prompt_QS, np.zeros_like(length_Q), tokens_QGT
    np.testing.assert_allclose(shared_logits(model, params, *case), full_logits(model, params, *case), atol=3e-5)


def test_outputs_end_to_end_in_rows_that_are_lent_prompts_equal_the_full_forward():
    """One unit of three prompts and four rows; the last row is empty."""
    model, params, (prompt_QS, length_Q, tokens_QGT) = Llama(CONFIG), random_params(), prompts_and_outputs()
    held = [[(0, 0), (0, 1)], [(2, 1)], [(1, 1), (1, 0)], []]                # (question, output)
    rows, numbers, places = np.zeros((3, 1, 4, 2 * TOKENS), int)
    for row, outputs in enumerate(held):
        for at, (q, g) in enumerate(outputs):
            here = 0, row, slice(at * TOKENS, (at + 1) * TOKENS)
            rows[here], numbers[here], places[here] = tokens_QGT[q, g], 1 + q * OUTPUTS + g, range(TOKENS)
    placement = Placement(numbers, places, np.array([[0, 2, 1, 0]]))
    h_QGTD = model.behind_prompts(params, rows, prompt_QS, length_Q, placement)
    logits_GTV = model.logits(params, h_QGTD)[0]
    wanted_QGTV = full_logits(model, params, prompt_QS, length_Q, tokens_QGT)
    for row, outputs in enumerate(held):
        for at, place in enumerate(outputs):
            np.testing.assert_allclose(logits_GTV[row, at * TOKENS:(at + 1) * TOKENS], wanted_QGTV[place], atol=3e-5)


@pytest.mark.parametrize('devices', [2, 4, 8])
def test_questions_that_are_fewer_than_devices_are_cut_by_outputs(devices):
    model, params, (prompt_QS, length_Q, tokens_QGT) = Llama(CONFIG), random_params(), prompts_and_outputs()
    tokens_QGT = np.concatenate([tokens_QGT, 39 - tokens_QGT], 1)            # four outputs
    case = params, tokens_QGT, prompt_QS, length_Q
    wanted_QGTD = model.behind_prompts(*case)
    with jax.set_mesh(sharding.make_mesh(devices, devices=jax.devices()[:devices])):
        np.testing.assert_allclose(jax.jit(model.behind_prompts)(*case), wanted_QGTD, atol=3e-5)
        assert units.cuts(3, 4) == {2: 2, 4: 4, 8: 1}[devices]
    assert units.cuts(3, 4) == 1, 'outside any mesh nothing is cut'


@functools.partial(jax.jit, static_argnums=(0, 1))
def output_gradients(logits, model, params, prompt_QS, length_Q, tokens_QGT):
    """Of a weighted sum of the outputs' log-probs."""
    weights_QGT = np.random.default_rng(5).normal(size=tokens_QGT.shape)

    def loss(params):
        logps_QGTV = jax.nn.log_softmax(logits(model, params, prompt_QS, length_Q, tokens_QGT))
        return jnp.sum(jnp.take_along_axis(logps_QGTV, tokens_QGT[..., None], -1)[..., 0] * weights_QGT)
    return jax.grad(loss)(params)


@functools.cache
def full_gradients():
    params, case = random_params(), prompts_and_outputs()
    full = lambda model, params, *traced: full_logits(model, params, *case)      # NumPy cuts the rows
    return output_gradients(full, Llama(CONFIG), params, *case)


@pytest.mark.parametrize('change', [{}, {'remat': 'dots'}], ids=str)
def test_gradients_through_the_shared_prompt_equal_the_full_forward(change):
    params, case, wanted = random_params(), prompts_and_outputs(), full_gradients()
    shared = output_gradients(shared_logits, Llama(dataclasses.replace(CONFIG, **change)), params, *case)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5 * np.abs(b).max()), shared, wanted)
    prompt_only = np.setdiff1d(case[0][2, :7], case[2])
    assert prompt_only.size and (np.abs(shared['embed_VD'])[prompt_only].max(-1) > 0).all()


def test_padding_behind_a_prompt_changes_nothing():
    model, params = Llama(CONFIG), random_params()
    case, other = prompts_and_outputs(padding=0), prompts_and_outputs(padding=33)
    assert (case[0] != other[0]).any()
    for logits in (shared_logits, decoded_logits):
        np.testing.assert_array_equal(logits(model, params, *case), logits(model, params, *other))
    grads = output_gradients(shared_logits, model, params, *other)
    jax.tree.map(np.testing.assert_array_equal, output_gradients(shared_logits, model, params, *case), grads)
    assert 33 not in case[0] and 33 not in case[2]
    np.testing.assert_array_equal(grads['embed_VD'][33], 0)
