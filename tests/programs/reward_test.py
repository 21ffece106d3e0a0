"""The reward program: labels in, a reward model's folder out; stopped and started again it ends with the same bits."""
import json

import jax
import numpy as np
import pytest
from etils import epath

from mathrl import sharding
from mathrl.checkpoint import Checkpoints
from mathrl.metrics import read_metrics
from mathrl.programs import reward, trained_model, trained_reward
from mathrl.programs.labelled_outputs import LabelledOutputs, read
from mathrl.records import read_jsonl, write_jsonl
from mathrl.rl.rewards import Outputs, Weighted
from mathrl.sampling.rollout import Rollouts, pad_prompts
from mathrl.text import tokenizer as tokenizers
from mathrl.train import optim
from mathrl.train.loop import Schedule
from mathrl.train.reward_loss import pairwise

STEPS = 8


def lines(problems: list[dict]) -> list[dict]:
    """Two outputs a problem, the second one wrong in its first or its second step."""
    rows = []
    for number, problem in enumerate(problems):
        wrong = [0, 0] if number % 2 else [1, 0]
        for output, labels in ((f'{problem["answer"]}=1\n\\boxed{{1}}', [1, 1]), ('2=3\n\\boxed{2}', wrong)):
            steps = [{'end': end, 'label': label} for end, label in zip([output.index('\n') + 1, len(output)], labels)]
            rows.append({'problem': problem['problem'], 'answer': problem['answer'], 'output': output, 'ended': True,
                         'rule': 'lines', 'correct': labels[-1] == 1, 'steps': steps})
    return rows


@pytest.fixture(scope='module')
def files(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp('labels')
    write_jsonl(folder / 'train.jsonl', lines(read_jsonl(tiny.problems)))
    write_jsonl(folder / 'heldout.jsonl', lines(read_jsonl(tiny.heldout)))
    return folder


def settings(tiny, files, workdir, **changed):
    epath.Path(workdir).mkdir(parents=True, exist_ok=True)
    rate = optim.constant(1e-2)
    return dict(workdir=epath.Path(workdir), model=tiny.model, labels=str(files / 'train.jsonl'),
                heldout=str(files / 'heldout.jsonl'), kind='process', mesh=sharding.make_mesh(devices=jax.devices()[:1]),
                optimizer=optim.adamw(rate), learning_rate=rate,
                schedule=Schedule(STEPS, save_every=2, log_every=1, measure_every=4), questions=4, group_size=2,
                templates=tiny.templates, seed=1) | changed


@pytest.fixture(scope='module')
def trained(tiny, files, tmp_path_factory):
    workdir = tmp_path_factory.mktemp('reward')
    reward.run(**settings(tiny, files, workdir))
    return workdir


def digests(workdir):
    with Checkpoints(epath.Path(workdir) / 'checkpoints') as checkpoints:
        return checkpoints.meta(checkpoints.latest())['digests']


def test_it_learns_and_measures_on_other_problems(trained):
    series = read_metrics(trained / 'metrics.jsonl')
    assert len(series) == STEPS and series[-1]['loss'] < series[0]['loss']
    assert all(0.2 < line['update_fill'] <= 1 for line in series)
    measured = [line for line in series if 'heldout_auc' in line]
    assert [line['step'] for line in measured] == [3, 7]
    assert {'heldout_accuracy', 'heldout_auc', 'heldout_first_wrong', 'heldout_first_wrong_chance'} <= set(measured[0])
    assert measured[-1]['heldout_first_wrong_chance'] == 0.5 and measured[-1]['heldout_auc'] > 0.9


def test_stopped_it_goes_on_to_the_same_bits(tiny, files, trained, tmp_path, monkeypatch):
    step, calls = reward.reward_step, []

    def dies(*arguments, **options):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return step(*arguments, **options)
    monkeypatch.setattr(reward, 'reward_step', dies)
    with pytest.raises(KeyboardInterrupt):
        reward.run(**settings(tiny, files, tmp_path))
    monkeypatch.setattr(reward, 'reward_step', step)
    reward.run(**settings(tiny, files, tmp_path))
    assert digests(tmp_path) == digests(trained)
    is_time = lambda name: name.startswith(('seconds', 'tokens_per_s', 'goodput'))
    timeless = lambda workdir: [{name: value for name, value in line.items() if not is_time(name)}
                                for line in read_metrics(workdir / 'metrics.jsonl')]
    assert timeless(tmp_path) == timeless(trained)


def test_its_folder_opens_as_a_reward_for_reinforcement_learning(tiny, trained):
    mesh = sharding.make_mesh(2, 2, 2)
    rewards = trained_reward.open_reward_model(str(trained), mesh)
    assert (rewards.kind, rewards.steps, rewards.scale) == ('process', 'lines', 'probability')
    assert rewards.templates == tiny.templates
    tokenizer = tokenizers.load(tiny.tokenizer)
    assert rewards.tokenizer.digest == tokenizer.digest
    prompt_QS, length_Q = pad_prompts([tokenizer.encode('1+1=?\n')] * 4, 16, tokenizer.pad_id)
    ids = tokenizer.encode('2=1\n\\boxed{1}')
    tokens_QGT = np.full((4, 2, 20), tokenizer.eos_id, np.int32)
    tokens_QGT[:, :, :len(ids)] = ids
    blank = np.zeros((4, 2, 20), np.float32)
    with jax.set_mesh(mesh):
        rollouts = sharding.place_named(mesh, dict(prompt_QS=prompt_QS, prompt_length_Q=length_Q, tokens_QGT=tokens_QGT,
                                                   length_QG=np.zeros((4, 2), np.int32), trained_QGT=blank.astype(np.int32),
                                                   sampler_logps_QGT=blank, policy_logps_QGT=blank))
        scored = rewards(Outputs(Rollouts(**rollouts), [None] * 4, tokenizer))
    assert np.asarray(scored.step_ends_QGT).sum(-1).tolist() == [[2, 2]] * 4
    assert (np.asarray(scored.rewards_QGT)[np.asarray(scored.step_ends_QGT) == 1] > 0).all()


def test_a_reward_models_folder_is_no_language_models_and_the_other_way_round(tiny, trained, tmp_path):
    with pytest.raises(ValueError, match='MODEL=.* is the folder of a reward model; that of a language model was wanted'):
        trained_model.open_config(str(trained))
    for folder, what in ((tiny.model, 'that of a language model'), (str(tmp_path), 'no folder of a trained model')):
        with pytest.raises(ValueError, match=f'REWARD_MODEL=.* is {what}; the folder of a reward model was wanted'):
            trained_reward.open_config(folder)


def test_two_reward_models_are_weighed_together_by_their_folders():
    both = [trained_reward.RewardModelFolder(folder) for folder in ('runs/outcome', 'runs/process')]
    assert [one.name for one in Weighted(both, [1.0, 0.5]).rewards] == ['runs/outcome', 'runs/process']


def test_outcomes_of_an_evaluation_by_pairs(tiny, tmp_path):
    graded = lambda text, correct: {'text': text, 'correct': correct, 'truncated': False}
    rows = [{'problem': row['problem'], 'outputs': [graded('\\boxed{1}', True), graded('\\boxed{2}', False)]}
            for row in read_jsonl(tiny.problems)]
    write_jsonl(tmp_path / 'samples.jsonl', rows)
    one = str(tmp_path / 'samples.jsonl')
    reward.run(**settings(tiny, tmp_path, tmp_path / 'orm', labels=one, heldout=one, kind='outcome', loss=pairwise))
    about = json.loads((tmp_path / 'orm' / 'reward_model.json').read_text())
    assert (about['kind'], about['steps']) == ('outcome', '')
    assert read_metrics(tmp_path / 'orm' / 'metrics.jsonl')[-1]['heldout_auc'] == 1


@pytest.mark.parametrize('changed, message', [
    (dict(kind='value'), "unknown kind 'value' of reward model; there are: outcome, process"),
    (dict(loss=pairwise), 'pairwise compares whole outputs; a process model wants'),
    (dict(aggregate='mean'), "unknown aggregate 'mean'; there are: min, last, product"),
    (dict(micro_batches=3), '4 questions x 2 outputs do not divide into 3 micro-batches'),
])
def test_what_cannot_be_is_one_sentence(tiny, files, tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        reward.run(**settings(tiny, files, tmp_path, **changed))


# ---- the labels' lines


def opened(tiny, path, rows, process=True, group_size=2):
    write_jsonl(path / 'rows.jsonl', rows)
    return LabelledOutputs(read(str(path / 'rows.jsonl')), tokenizers.load(tiny.tokenizer), tiny.templates, process, group_size)


def test_groups_are_padded_and_labels_stand_at_the_last_token_of_each_step(tiny, tmp_path):
    rows = lines(read_jsonl(tiny.problems)[:2])
    labelled = opened(tiny, tmp_path, rows + rows[:1])      # three outputs of the first problem: two groups
    assert labelled.rule == 'lines' and [len(outputs) for _, outputs in labelled.groups] == [2, 1, 2]
    padded, tokenizer = labelled.padded([1, 0]), tokenizers.load(tiny.tokenizer)
    assert padded['step_ends_QGT'].sum(-1).tolist() == [[2, 0], [2, 2]]
    at = np.flatnonzero(padded['step_ends_QGT'][1, 1])
    tokens_T = padded['tokens_QGT'][1, 1]
    assert tokenizer.decode(tokens_T[:at[0] + 1]) == '2=3\n' and tokens_T[at[1]] == tokenizer.eos_id
    assert padded['labels_QGT'][1, 1][at].tolist() == [1, 0]


def test_batches_are_whole_passes_and_depend_on_seed_and_step_alone(tiny, tmp_path):
    labelled = opened(tiny, tmp_path, lines(read_jsonl(tiny.problems)))
    one_pass = np.concatenate([labelled.rows(5, step, 4) for step in range(4)])
    assert sorted(one_pass) == list(range(16))
    np.testing.assert_array_equal(labelled.rows(5, 9, 4), labelled.rows(5, 9, 4))
    assert labelled.rows(5, 4, 4).tolist() != labelled.rows(5, 0, 4).tolist()
    assert len(labelled.rows(5, 0, 40)) == 40      # more than there are: some twice


@pytest.mark.parametrize('change, message', [
    (lambda row: row.pop('steps'), 'rows.jsonl line 2: there are no steps; a process model wants lines of'),
    (lambda row: row.pop('rule'), 'rows.jsonl line 2: there is no rule of steps; a process model wants lines of'),
    (lambda row: row.update(rule='clauses'), "line 2: steps by the rule 'clauses', and others by 'lines'"),
    (lambda row: row.update(correct='yes'), "line 2: field 'correct' is 'yes'; wanted was"),
])
def test_a_line_that_does_not_fit_is_named(tiny, tmp_path, change, message):
    rows = lines(read_jsonl(tiny.problems)[:1])
    change(rows[1])
    with pytest.raises(ValueError, match=message):
        opened(tiny, tmp_path, rows)
