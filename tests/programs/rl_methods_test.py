"""Every algorithm in the rl program: stopped in the middle of an iteration and started again it ends with the same bits."""
import types

import jax
import numpy as np
import pytest
from etils import epath

from mathrl import sharding
from mathrl.checkpoint import Checkpoints
from mathrl.metrics import read_metrics
from mathrl.models.heads import ScalarModel
from mathrl.models.llama import Llama
from mathrl.problems.grading_pool import GradingPool
from mathrl.programs import rl, trained_model, trained_reward
from mathrl.programs.reward_iterations import RewardTraining
from mathrl.rl import advantages, coefficients, kl, normalisation
from mathrl.rl.reward_model import RewardModel
from mathrl.rl.rewards import Scored, TextReward, Weighted
from mathrl.rl.types import ActorCritic, Algorithm, Preferences
from mathrl.sampling.filters import Sampling
from mathrl.sampling.rollout import written
from mathrl.train import optim
from mathrl.train.loop import Schedule

STEPS, ITERATIONS, SAVED, STOPPED = 6, 2, 4, 5      # stopped in the third step of iteration 2, and saved before its second
# The runs of a test, and most tests, share these objects, and so what is compiled for them.
OPTIMIZER = optim.adamw(optim.constant(1e-2))
GRPO, SURROGATE = coefficients.grpo(), coefficients.grpo(kl_coef=0.0)
RFT = dict(coefficient=coefficients.likelihood(), advantages=advantages.rewards_themselves)
TIMES = {'seconds', 'tokens_per_s', 'rollout_tokens_per_s', 'update_tokens_per_s'}

outcome = TextReward('parity', lambda problem, text, tokens: float(sum(map(ord, text)) % 2))


class EveryThird:
    """A process reward: a step ends at every third token and at the last, and its token's parity is its reward."""
    name = 'steps'

    def __call__(self, outputs):
        def score(questions, tokens_QGT):
            rewards_QGT, ends_QGT = np.zeros(tokens_QGT.shape, np.float32), np.zeros(tokens_QGT.shape, np.int32)
            for q, g in np.ndindex(*tokens_QGT.shape[:2]):
                ids, ended = written(tokens_QGT[q, g], outputs.tokenizer.stop_ids)
                for t in {*range(2, len(ids), 3), len(ids) if ended else len(ids) - 1}:
                    rewards_QGT[q, g, t], ends_QGT[q, g, t] = tokens_QGT[q, g, t] % 2, 1
            return rewards_QGT, ends_QGT
        return Scored(*sharding.map_rows(score, outputs.rollouts.tokens_QGT))


class Stopped(Exception):
    """Stands for whatever ends a process."""


class Stopping:
    """The reward, until it was asked for so many times."""

    def __init__(self, reward, calls):
        self.reward, self.calls, self.name = reward, calls, reward.name

    def __call__(self, outputs):
        if self.calls == 0:
            raise Stopped
        self.calls -= 1
        return self.reward(outputs)


METHODS = {
    'grpo_outcome': (outcome, lambda reward: Algorithm('policy', reward, GRPO), dict(updates=2)),
    'grpo_process': (EveryThird(), lambda reward: Algorithm('policy', reward, GRPO), {}),
    'online_rft': (outcome, lambda reward: Algorithm('policy', reward, **RFT), {}),
    'rft': (outcome, lambda reward: Algorithm('reference', reward, **RFT), {}),
    'rloo': (outcome, lambda reward: Algorithm('policy', reward, SURROGATE, normalisation.sequence_sum,
                                               advantages.leave_one_out, kl.Penalty(0.1)), {}),
    'ppo': (outcome, lambda reward: ActorCritic('policy', reward, SURROGATE, OPTIMIZER, reward_kl=kl.Penalty(0.1)),
            dict(updates=2)),
    'online_dpo': (outcome, lambda reward: Preferences('policy', reward), {}),
}


def settings(tiny, workdir, **changed):
    workdir.mkdir(exist_ok=True)
    defaults = dict(
        workdir=epath.Path(workdir), problems=tiny.problems, model=tiny.model,
        mesh=sharding.make_mesh(devices=jax.devices()[:1]), optimizer=OPTIMIZER,
        schedule=Schedule(steps=STEPS, save_every=SAVED, log_every=1),
        iterations=ITERATIONS, sampling=Sampling(), questions=2, group_size=4, max_tokens=6, templates=tiny.templates, seed=1)
    return defaults | changed


def end(workdir):
    """(digests of every leaf at the end, the logged lines without times)."""
    with Checkpoints(epath.Path(workdir) / 'checkpoints') as checkpoints:
        digests = checkpoints.meta(checkpoints.latest())['digests']
    timeless = lambda line: {name: value for name, value in line.items() if name not in TIMES and 'goodput' not in name}
    return digests, [timeless(line) for line in read_metrics(workdir / 'metrics.jsonl')]


@pytest.mark.parametrize('name', [pytest.param(name, marks=pytest.mark.slow if name == 'rloo' else ()) for name in METHODS])
def test_stopped_in_the_second_iteration_it_ends_with_the_same_bits(tiny, tmp_path, name):
    reward, algorithm, changed = METHODS[name]
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    rl.run(**settings(tiny, whole, algorithm=algorithm(reward), **changed))
    with pytest.raises(Stopped):
        rl.run(**settings(tiny, broken, algorithm=algorithm(Stopping(reward, STOPPED)), **changed))
    rl.run(**settings(tiny, broken, algorithm=algorithm(reward), **changed))
    digests, logged = end(whole)
    assert (digests, logged) == end(broken)
    kept = {'params', 'optimizer', 'reference', 'random'} | ({'critic'} if name == 'ppo' else set())
    assert kept <= set(digests)
    assert [line['step'] for line in logged] == list(range(STEPS))


@pytest.fixture(scope='module', params=[pytest.param('outcome', marks=pytest.mark.slow), 'process'])
def reward_model(request, tiny, tmp_path_factory):
    """The folder of a reward model with a fresh head."""
    folder = epath.Path(tmp_path_factory.mktemp('reward_model'))
    mesh, scalar = sharding.make_mesh(devices=jax.devices()[:1]), ScalarModel(tiny.config)
    _, tokenizer = trained_model.open_config(tiny.model)
    params = trained_model.open_params(tiny.model, Llama(tiny.config), mesh)
    steps = 'clauses' if request.param == 'process' else ''
    trained_reward.begin(folder, tiny.config, tokenizer, trained_reward.About(request.param, steps, tiny.templates))
    with Checkpoints(folder / 'checkpoints') as checkpoints:
        checkpoints.save(1, {'params': trained_reward.with_fresh_head(scalar, params, mesh, seed=0)}, {})
    return str(folder)


def test_with_a_reward_model_that_is_trained_on_too(tiny, tmp_path, reward_model):
    """All three loops: the reference, the reward model and its history go on from the checkpoint as well."""
    folder, whole, broken = trained_reward.RewardModelFolder(reward_model, 'logit'), tmp_path / 'whole', tmp_path / 'broken'
    with GradingPool(workers=1) as pool:
        changed = dict(iterations=3, reward_training=RewardTraining(
            OPTIMIZER, pool, updates=2, batch=4, questions=5, replay_share=0.5, completions=2, capacity=8))
        both = lambda first: Algorithm('policy', Weighted([first, folder], [1.0, 0.5]), GRPO)
        rl.run(**settings(tiny, whole, algorithm=both(outcome), **changed))
        with pytest.raises(Stopped):
            rl.run(**settings(tiny, broken, algorithm=both(Stopping(outcome, STOPPED)), **changed))
        rl.run(**settings(tiny, broken, algorithm=both(outcome), **changed))
    digests, logged = end(whole)
    assert (digests, logged) == end(broken)
    assert {'reward_model', 'replay', 'reference'} <= set(digests)
    refreshed = [line['step'] for line in logged if 'reward_model_loss' in line]
    assert refreshed == [2, 4]
    assert set(digests['replay']) == {'prompt_QS', 'prompt_length_Q', 'tokens_QGT', 'labels_QGT', 'step_ends_QGT', 'added'}
    for line in logged:
        [judged] = {'reward_orm', 'reward_prm'} & set(line)
        np.testing.assert_allclose(line['reward'], line['reward_parity'] + 0.5 * line[judged], rtol=1e-5, atol=1e-6)


def test_a_reward_model_with_another_tokenizer_is_not_trained_on():
    named = lambda digest: types.SimpleNamespace(digest=digest)
    model = RewardModel(None, None, named('its own'), None, steps='')
    with pytest.raises(ValueError, match='and this one has another tokenizer'):
        rl.reward_iterations(RewardTraining(None, None, 1, 1, 1), types.SimpleNamespace(tokenizer=named("policy's")), model)


def test_reward_training_wants_a_reward_model(tiny, tmp_path):
    training = RewardTraining(OPTIMIZER, GradingPool(workers=1), updates=1, batch=1, questions=1)
    with pytest.raises(ValueError, match='the reward has 0 reward models; one was wanted'):
        rl.run(**settings(tiny, tmp_path, algorithm=Algorithm('policy', outcome, GRPO), reward_training=training))


def test_an_iteration_begins_with_the_policy_as_its_reference(tiny, tmp_path):
    rl.run(**settings(tiny, tmp_path, algorithm=Algorithm('policy', outcome, GRPO)))
    divergences = [line['kl'] for line in read_metrics(tmp_path / 'metrics.jsonl')]
    first = [divergences[0], divergences[STEPS // ITERATIONS]]
    assert max(first) < 1e-6 < min(set(divergences) - set(first))


def test_offline_outputs_are_the_references(tiny, tmp_path):
    """With a rate that leaves nothing as it was, the outputs of the start still have its log-probs under the reference."""
    rl.run(**settings(tiny, tmp_path, algorithm=Algorithm('reference', outcome, **RFT), iterations=1))
    gaps = [line['logp_gap'] for line in read_metrics(tmp_path / 'metrics.jsonl')]
    assert gaps[0] < 1e-5 and min(gaps[1:]) > 1e-3      # between who sampled and who is trained


def test_all_equal_groups_are_replaced(tiny, tmp_path):
    rare = TextReward('rare', lambda problem, text, tokens: float(sum(map(ord, text)) % 7 == 0))
    equal = {}
    for refills in (0, 3):
        workdir = tmp_path / str(refills)
        rl.run(**settings(tiny, workdir, algorithm=Algorithm('policy', rare, GRPO), refills=refills))
        logged = read_metrics(workdir / 'metrics.jsonl')
        equal[refills] = np.mean([line['all_equal'] for line in logged])
    assert equal[3] < 0.5 * equal[0]
    turns = [int(line['sampling_turns']) for line in logged]
    assert max(turns) > 1 and [line['samples'] for line in logged] == [8 * turn for turn in turns]


@pytest.mark.parametrize('changed, message', [
    (dict(iterations=4), '6 steps do not divide into 4 iterations'),
    (dict(reference=False), 'an iteration begins with a new reference'),
    (dict(updates=0), 'updates=0'),
    (dict(questions=-2), 'questions=-2 must be at least 1'),
    (dict(micro_batches=0, heldout_every=0), 'micro_batches=0 and heldout_every=0 must be at least 1'),
    (dict(max_tokens=0), 'max_tokens=0 must be at least 1'),
    (dict(refills=-1), 'refills=-1 must be at least 0'),
])
def test_bad_input_is_one_sentence(tiny, tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        rl.run(**settings(tiny, tmp_path, algorithm=Algorithm('policy', outcome, GRPO), **changed))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('algorithm, message', [
    (Algorithm('reference', outcome, **RFT), 'reference=False, and outputs are to come from the reference'),
    (Preferences('policy', outcome), 'reference=False, and DPO compares the policy with one'),
    (Algorithm('policy', outcome, GRPO), 'kl_coef=0.04 wants the log-probs of a reference'),
], ids=['offline', 'dpo', 'kl'])
def test_what_wants_a_reference_says_so(tiny, tmp_path, algorithm, message):
    with pytest.raises(ValueError, match=message):
        rl.run(**settings(tiny, tmp_path, algorithm=algorithm, iterations=1, reference=False))


@pytest.mark.parametrize('changed, message', [
    (dict(questions=1, micro_batches=4), '1 questions x 2 pairs do not divide into 4 micro-batches$'),
    (dict(mesh=sharding.make_mesh()), '2 questions x 2 pairs do not divide into 1 micro-batches over 8 devices$'),
    (dict(reward_training=RewardTraining(OPTIMIZER, None, updates=1, batch=1, questions=1, micro_batches=3)),
     '1 questions x 4 outputs do not divide into 3 micro-batches'),
    (dict(prompt_tokens=2), 'problems.jsonl: its longest prompt has .* tokens, and prompt_tokens=2'),
], ids=['pairs', 'pairs_on_devices', 'reward_training', 'prompts'])
def test_what_does_not_divide_or_fit_is_one_sentence(tiny, tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        rl.run(**settings(tiny, tmp_path, algorithm=Preferences('policy', outcome), **changed))
    assert not list(tmp_path.iterdir())
