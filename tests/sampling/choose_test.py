"""Of which distribution outputs are sampled, what is said of it, and when they stop."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from mathrl import sharding
from mathrl.models.llama import Llama, LlamaConfig
from mathrl.sampling.filters import Sampling
from mathrl.sampling.groups import write_groups

EOS, WIDTH, OUTPUTS, TOKENS = 1, 8, 4, 9
CONFIG = LlamaConfig(vocab=24, width=16, layers=2, heads=4, kv_heads=2, head_dim=8, mlp_width=24)
MODEL = Llama(CONFIG)
SETTINGS = [Sampling(), Sampling(temperature=0.6), Sampling(temperature=1.3, top_k=7, top_p=0.8)]


def random_params(model=MODEL, seed=0):
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: (rng.normal(size=leaf.shape) * 0.4).astype(np.float32), shapes)


def prompts(lengths=(1, 4, 8)):
    prompt_QS = np.random.default_rng(1).integers(2, CONFIG.vocab, (len(lengths), WIDTH)).astype(np.int32)
    length_Q = np.array(lengths, np.int32)
    prompt_QS[np.arange(WIDTH) >= length_Q[:, None]] = 0
    return prompt_QS, length_Q


@functools.cache
def decoded(sampling, seed=0, eos_id=EOS):
    prompt_QS, length_Q = prompts()
    return vars(write(random_params(), prompt_QS, length_Q, MODEL, sampling, OUTPUTS, TOKENS, seed, eos_id))


def write(params, prompt_QS, length_Q, model, sampling, outputs, tokens, seed=0, eos_id=EOS):
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    with jax.set_mesh(mesh):
        return write_groups(params, prompt_QS, length_Q, jax.random.key(seed), np.arange(len(length_Q), dtype=np.int32),
                            model=model, mesh=mesh, outputs=outputs, max_tokens=tokens, sampling=sampling, eos_id=eos_id)


@jax.jit
def plain_logits(params, tokens_BT):
    ones_BT = jnp.ones_like(tokens_BT)
    return MODEL.logits(params, MODEL.hidden(params, tokens_BT, ones_BT, jnp.cumsum(ones_BT, 1) - 1))


def full_logits(result):
    """Logits [Q, G, T, V] of the full forward, at the positions that predict each sampled token."""
    prompt_QS, length_Q = prompts()
    rows = np.zeros((3, OUTPUTS, WIDTH + TOKENS), np.int32)
    for q, g in np.ndindex(3, OUTPUTS):
        row = [*prompt_QS[q, :length_Q[q]], *result['tokens_QGT'][q, g]]
        rows[q, g, :len(row)] = row
    logits = np.asarray(plain_logits(random_params(), rows.reshape(-1, WIDTH + TOKENS)))
    logits = logits.reshape(rows.shape + (CONFIG.vocab,))
    return np.stack([x[:, length - 1:length - 1 + TOKENS] for x, length in zip(logits, length_Q)])


def numpy_distribution(logits_V, sampling):
    """Probabilities [V] that a setting samples from."""
    weights = np.exp(logits_V.astype(np.float64) / sampling.temperature)
    order = np.argsort(-weights)[:sampling.top_k or None]
    mass = np.cumsum(weights[order]) / weights[order].sum()
    kept = order[:np.searchsorted(mass, sampling.top_p) + 1] if sampling.top_p < 1 else order
    probabilities = np.zeros(len(weights))
    probabilities[kept] = weights[kept] / weights[kept].sum()
    return probabilities


# ---- what is said of the samples

@pytest.mark.parametrize('sampling', SETTINGS, ids=str)
def test_log_probs_are_those_of_the_sampled_and_of_the_plain_distribution(sampling):
    result = decoded(sampling)
    logits_QGTV = full_logits(result)
    for q, g in np.ndindex(3, OUTPUTS):
        for t in range(result['length_QG'][q, g]):
            token, logits_V = result['tokens_QGT'][q, g, t], logits_QGTV[q, g, t]
            said = result['sampler_logps_QGT'][q, g, t], result['policy_logps_QGT'][q, g, t]
            assert said[0] == pytest.approx(np.log(numpy_distribution(logits_V, sampling)[token]), abs=1e-5)
            assert said[1] == pytest.approx(np.log(numpy_distribution(logits_V, Sampling())[token]), abs=1e-5)


def test_greedy_takes_the_likeliest_token_of_the_full_forward():
    result = decoded(Sampling(temperature=0.0))
    likeliest_QGT = full_logits(result).argmax(-1)
    for q, g in np.ndindex(3, OUTPUTS):
        length = result['length_QG'][q, g]
        np.testing.assert_array_equal(result['tokens_QGT'][q, g, :length], likeliest_QGT[q, g, :length])
        np.testing.assert_array_equal(result['tokens_QGT'][q, g], result['tokens_QGT'][q, 0])
    assert len(set(likeliest_QGT[..., 0].flat)) > 1, 'a model that always says the same would prove nothing'
    np.testing.assert_array_equal(result['sampler_logps_QGT'], 0)


def test_an_output_ends_with_its_end_token_and_nothing_follows():
    result = decoded(Sampling())
    ended = 0
    for q, g in np.ndindex(3, OUTPUTS):
        tokens_T, length = result['tokens_QGT'][q, g], result['length_QG'][q, g]
        assert EOS not in tokens_T[:length - 1]
        assert tokens_T[length - 1] == EOS or length == TOKENS
        assert (tokens_T[length:] == EOS).all()
        for name in ('sampler_logps_QGT', 'policy_logps_QGT'):
            assert (result[name][q, g, :length] < 0).all() and (result[name][q, g, length:] == 0).all()
        ended += length < TOKENS
    assert 0 < ended < 3 * OUTPUTS, 'some outputs must end early and some must not'


def test_any_of_several_end_tokens_ends_an_output():
    """The outputs are those of a sampler that knows no end, up to the first end token; behind it stands the first of the ends."""
    ends, endless = (5, EOS, 9), decoded(Sampling(), eos_id=CONFIG.vocab)
    result, met = decoded(Sampling(), eos_id=ends), set()
    for q, g in np.ndindex(3, OUTPUTS):
        wanted_T = endless['tokens_QGT'][q, g].tolist()
        length = next((place + 1 for place, token in enumerate(wanted_T) if token in ends), TOKENS)
        met.add(wanted_T[length - 1])
        assert result['length_QG'][q, g] == length
        assert result['tokens_QGT'][q, g].tolist() == wanted_T[:length] + [5] * (TOKENS - length)
        for name in ('sampler_logps_QGT', 'policy_logps_QGT'):
            np.testing.assert_array_equal(result[name][q, g, :length], endless[name][q, g, :length])
            assert (result[name][q, g, length:] == 0).all()
    assert len(met & set(ends)) > 1 and met - set(ends), 'outputs must end by several of them, and some not at all'


# ---- one layer whose attention and MLP add nothing: a table of next-token probabilities

TABLE = Llama(LlamaConfig(vocab=12, width=8, layers=1, heads=1, kv_heads=1, head_dim=4, mlp_width=4))


def table_params(end=0.0):
    """Parameters whose logits depend on the last token alone; `end` is added to the end token's."""
    params = random_params(TABLE, seed=2)
    params['layers'] = {name: np.zeros_like(x) for name, x in params['layers'].items()}
    params['norm_D'] = np.ones_like(params['norm_D'])
    params['embed_VD'][:, 0] = 1                    # a coordinate that every token has: a bias
    params['unembed_DV'][0] = 0
    params['unembed_DV'][0, EOS] = end
    return params


def table(params, sampling):
    """Probabilities [V, V]: row by last token."""
    x_VD = params['embed_VD'].astype(np.float64)
    x_VD = x_VD / np.sqrt(np.mean(x_VD ** 2, -1, keepdims=True) + TABLE.config.norm_eps)
    return np.stack([numpy_distribution(logits_V, sampling) for logits_V in x_VD @ params['unembed_DV']])


def write_by_table(params, sampling, outputs, tokens):
    prompt_QS, length_Q = np.array([[3, 5], [4, 0]], np.int32), np.array([2, 1], np.int32)
    return write(params, prompt_QS, length_Q, TABLE, sampling, outputs, tokens)


@pytest.mark.parametrize('sampling', [Sampling(), Sampling(temperature=1.4, top_k=6, top_p=0.85)], ids=str)
def test_frequencies_fit_the_probabilities(sampling):
    """Chi-squared on every next-token distribution that 2 x 4000 outputs of 3 tokens visited often enough."""
    params = table_params()
    probabilities_VV = table(params, sampling)
    tokens_QGT = write_by_table(params, sampling, 4000, 3).tokens_QGT
    first_QG1 = np.broadcast_to(np.array([5, 4])[:, None, None], tokens_QGT.shape[:2] + (1,))
    pairs = np.stack([np.concatenate([first_QG1, tokens_QGT[..., :-1]], -1), tokens_QGT]).reshape(2, -1)
    pairs = pairs[:, pairs[0] != EOS]
    counts_VV = np.zeros(probabilities_VV.shape)
    np.add.at(counts_VV, tuple(pairs), 1)
    assert counts_VV[probabilities_VV == 0].sum() == 0, 'a filtered token was sampled'
    p_values = []
    for counts_V, probabilities_V in zip(counts_VV, probabilities_VV):
        expected_V = counts_V.sum() * probabilities_V
        often = expected_V >= 5
        if often.sum() > 1:      # the rare tokens are one bin, which holds their number
            bins = [np.append(x_V[often], x_V[~often].sum() + 1e-9) for x_V in (counts_V, expected_V)]
            p_values.append(scipy.stats.chisquare(*bins).pvalue)
    assert len(p_values) >= 5 and min(p_values) > 1e-4, p_values


def test_the_tokens_of_an_output_are_drawn_independently():
    """Where every next-token distribution is the same, so is that of the second token after each first one."""
    params = table_params()
    params['embed_VD'] = np.broadcast_to(params['embed_VD'][0], params['embed_VD'].shape).copy()
    tokens_QGT = write_by_table(params, Sampling(), 4000, 3).tokens_QGT
    tokens_XT = tokens_QGT.reshape(-1, 3)
    for first, second in ((tokens_QGT[0, :, 0], tokens_QGT[1, :, 0]), (tokens_QGT[0, :-1, 0], tokens_QGT[0, 1:, 0]),
                          tokens_XT[tokens_XT[:, 0] != EOS, :2].T):
        counts_VV = np.zeros((12, 12))
        np.add.at(counts_VV, (first, second), 1)
        counts_VV = counts_VV[counts_VV.sum(1) > 0]
        assert scipy.stats.chi2_contingency(counts_VV).pvalue > 1e-4
