"""The step_labels program: labels as counted, the same bytes for any batch, mesh and after a stop."""
import json
import types

import jax
import numpy as np
import pytest
from etils import epath

from mathrl import sharding
from mathrl.evaluation.answer_files import AnswerFiles
from mathrl.problems.types import Problem
from mathrl.problems.verdict import grade_boxed
from mathrl.programs import step_labels
from mathrl.records import read_jsonl
from mathrl.sampling.filters import Sampling
from mathrl.text import tokenizer as tokenizers

SAMPLES = 3


def run(tiny, workdir, **changed) -> bytes:
    """No rule finds more than a step in what a random model writes: here every third character ends one."""
    settings = dict(workdir=epath.Path(workdir), problems=tiny.problems, model=tiny.model, mesh=sharding.make_mesh(8, 1, 1),
                    rule='clauses', samples=SAMPLES, completions=2, max_tokens=12, batch=8, questions=3, limit=6,
                    templates=tiny.templates, workers=1, seed=3)
    epath.Path(workdir).mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mathrl.rl.step_ends.solution_steps.step_ends', lambda text, rule: [*range(3, len(text), 3), len(text)])
        step_labels.run(**settings | changed)
    return (epath.Path(workdir) / 'labels.jsonl').read_bytes()


@pytest.fixture(scope='module')
def labelled(tiny, tmp_path_factory) -> bytes:
    return run(tiny, tmp_path_factory.mktemp('labels'))


def test_a_line_an_output_in_the_order_of_the_problems(labelled, tiny):
    rows = [json.loads(line) for line in labelled.splitlines()]
    asked = read_jsonl(tiny.problems)[:6]
    assert [row['problem'] for row in rows] == [row['problem'] for row in asked for _ in range(SAMPLES)]
    assert sum(len(row['steps']) for row in rows) > 2 * len(rows)
    for row in rows:
        ends = [step['end'] for step in row['steps']]
        assert ends == sorted(set(ends)) and ends[-1] == len(row['output'])
        assert row['steps'][-1] == {'end': ends[-1], 'label': int(row['correct']), 'right': None}
        assert all(step['label'] == int(step['right'] > 0) for step in row['steps'][:-1])


@pytest.mark.parametrize('changed', [dict(batch=16, questions=6), dict(mesh=(2, 2, 2))], ids=['batch', 'mesh'])
def test_the_same_bytes_in_other_batches_and_on_another_mesh(labelled, tiny, tmp_path, changed):
    if 'mesh' in changed:
        changed = {'mesh': sharding.make_mesh(*changed['mesh'])}
    assert run(tiny, tmp_path, **changed) == labelled


def test_stopped_while_a_batch_was_written_it_goes_on_to_the_same_bytes(labelled, tiny, tmp_path, monkeypatch):
    write, asked = AnswerFiles.append, []

    def dies(files, rows):
        if files.rows:
            (tmp_path / 'labels' / f'{len(files.rows):07}.jsonl.partial').write_text('{"problem": "1+')
            raise KeyboardInterrupt
        write(files, rows)
    monkeypatch.setattr(AnswerFiles, 'append', dies)
    with pytest.raises(KeyboardInterrupt):
        run(tiny, tmp_path)
    monkeypatch.setattr(AnswerFiles, 'append', lambda files, rows: (asked.extend(rows), write(files, rows)))
    assert run(tiny, tmp_path) == labelled
    assert len(asked) == 3 * SAMPLES      # the first three problems were not asked again


def test_other_settings_do_not_go_on_from_what_is_there(tiny, labelled, tmp_path):
    run(tiny, tmp_path, limit=3)
    with pytest.raises(ValueError, match='holds answers under other settings .*completions 2 then, 4 now'):
        run(tiny, tmp_path, limit=3, completions=4)


@pytest.mark.parametrize('changed, message', [
    (dict(rule='words'), "unknown rule of steps 'words'; there are: lines, sentences, clauses"),
    (dict(label='firm'), "unknown label 'firm'; there are: hard, soft"),
    (dict(completions=0), 'completions=0.*: each must be 1 or more'),
])
def test_what_cannot_be_is_one_sentence(tiny, tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        run(tiny, tmp_path, **changed)


# ---- labels, with a sampler whose every output is known

PROBLEM = Problem('1+4', '5')
OUTPUTS = ['1=1\n2=3\n\\boxed{5}', '1=1\n2=2\n\\boxed{4}', '1=1\n2=3\n\\boxed{4}']
COMPLETIONS = {'1=1\n': ['\\boxed{5}', '\\boxed{4}', '\\boxed{5}', ''], '1=1\n2=3\n': ['\\boxed{4}'] * 4,
               '1=1\n2=2\n': ['\\boxed{5}', '\\boxed{1}', '', '2=' * 50 + '\\boxed{5}']}


@pytest.fixture(scope='module')
def known(tiny):
    """(rows by hard labels, by soft ones, what the sampler was asked): at most 40 tokens an output."""
    tokenizer = tokenizers.load(tiny.tokenizer)
    asked, asked_ids = [], tokenizer.encode('1')

    def row(ids, width=120):
        return np.array([*ids, *[tokenizer.eos_id] * (width - len(ids))])

    def sample_tokens(prompts, numbers, key, *, outputs, sampling, width):
        asked.append((prompts, numbers, outputs, jax.random.key_data(key).tolist()))
        texts = [OUTPUTS if ids == asked_ids else COMPLETIONS[tokenizer.decode(ids)[1:]] for ids in prompts]
        return [np.stack([row(tokenizer.encode(one)) for one in some]) for some in texts]
    sampler = types.SimpleNamespace(sample_tokens=sample_tokens, tokenizer=tokenizer, max_tokens=40)
    labeller = step_labels.Labeller(sampler, jax.random.key(0), Sampling(), 'lines', 3, 4)
    outputs, texts = labeller([asked_ids], [7])
    pool = types.SimpleNamespace(grade_all=lambda items: [grade_boxed(*item) for item in items])
    hard, soft = (step_labels.label_rows(pool, [PROBLEM], outputs, texts, 'lines', label, 4) for label in step_labels.LABELS)
    return hard, soft, asked


def test_labels_are_whether_and_how_often_completions_are_right(known):
    hard, soft, _ = known
    labels = lambda rows: [[step['label'] for step in row['steps']] for row in rows]
    assert labels(hard) == [[1, 0, 1], [1, 1, 0], [1, 0, 0]]
    assert labels(soft) == [[0.5, 0, 1], [0.5, 0.25, 0], [0.5, 0, 0]]      # a completion past the limit of tokens is not right
    assert [[step['right'] for step in row['steps']] for row in hard] == [[2, 0, None], [2, 1, None], [2, 0, None]]
    assert [row['correct'] for row in hard] == [True, False, False]


def test_a_beginning_that_outputs_share_is_completed_once_with_a_key_of_its_own(known):
    (_, numbers, _, outputs_key), (beginnings, more_numbers, count, completions_key) = known[2]
    assert numbers == [7] and count == 4 and outputs_key != completions_key
    assert len(beginnings) == len(COMPLETIONS) == len(set(more_numbers))
