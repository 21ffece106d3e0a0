"""Graded answers: the same whatever the batch and the mesh; lengths and truncation counted right."""
import functools

import jax
import numpy as np
import pytest

from mathrl import sharding
from mathrl.evaluation import generation, tool_turns
from mathrl.evaluation.evaluator import answer, answers
from mathrl.evaluation.generation import Sampler
from mathrl.models.llama import Llama, LlamaConfig
from mathrl.problems.prompts import Prompt
from mathrl.problems.protocols import Protocol
from mathrl.problems.types import Problem, Verdict
from mathrl.sampling.filters import Sampling

EOS, MAX_TOKENS = 1, 6
MODEL = Llama(LlamaConfig(vocab=16, width=16, layers=1, heads=2, kv_heads=2, head_dim=8, mlp_width=16))
PROBLEMS = [Problem(f'problem {number}', str(number % 3)) for number in range(10)]
PROMPTS = [[2 + number] * (1 + number % 5) for number in range(10)]


class Numbers:
    """A tokenizer whose text is the ids themselves."""
    stop_ids, pad_id = (EOS,), 0

    def decode(self, ids):
        return ' '.join(map(str, ids))


def grade_ids(output, reference, problem):
    """Right if the first id leaves the reference by 3; no answer where there is no id."""
    assert problem == f'problem {problem.split()[1]}' and reference == str(int(problem.split()[1]) % 3)
    first = output.split()[:1]
    return Verdict(bool(first) and int(first[0]) % 3 == int(reference), first[0] if first else None, 'equal')


@functools.cache
def params():
    # A larger unembedding makes the model's distribution uneven, so that ends and truncations both occur.
    tree = jax.jit(MODEL.init)(jax.random.key(0))
    return jax.device_get({**tree, 'unembed_DV': 2 * tree['unembed_DV']})


def ask(sizes=(1, 1, 1), batch=4, samples=4, sampling=Sampling(), seed=0, **changed):
    mesh = sharding.make_mesh(*sizes, devices=jax.devices()[:int(np.prod(sizes))])
    settings = dict(problems=PROBLEMS, prompts=PROMPTS, grade=grade_ids, max_tokens=MAX_TOKENS, width=8) | changed
    with jax.set_mesh(mesh):
        placed = jax.device_put(params(), sharding.parameter_shardings(mesh, params()))
        return list(answer(MODEL, placed, Numbers(), mesh, samples=samples, sampling=sampling, seed=seed, batch=batch,
                           **settings))


@functools.cache
def usual():
    return ask()


def test_any_stop_token_of_the_tokenizer_ends_an_output(monkeypatch):
    usual_texts = [output.text.split() for outputs in usual() for output in outputs]
    monkeypatch.setattr(Numbers, 'stop_ids', (EOS, 4))
    found = [output for outputs in ask() for output in outputs]
    assert any('4' in text for text in usual_texts)
    for output, text in zip(found, usual_texts):
        assert output.text.split() == (text[:text.index('4')] if '4' in text else text)
        assert not ('4' in text and output.truncated)


@pytest.mark.parametrize('batch', [3, 8, 16])
def test_batch_size_changes_nothing(batch):
    assert ask(batch=batch) == usual()


@pytest.mark.parametrize('sizes, batch', [((8, 1, 1), 8), ((2, 2, 2), 3)], ids=['8x1x1', '2x2x2'])
def test_mesh_changes_nothing(sizes, batch):
    assert ask(sizes, batch) == usual()


def test_every_problem_is_answered_once_in_order():
    graded = usual()
    assert [len(outputs) for outputs in graded] == [4] * 10
    for problem, outputs in zip(PROBLEMS, graded):
        for output in outputs:
            verdict = grade_ids(output.text, problem.answer, problem.problem)
            assert (output.correct, output.extracted) == (verdict.correct, verdict.extracted)
    assert len({output.text for outputs in graded for output in outputs}) > 20
    assert len({output.correct for outputs in graded for output in outputs}) == 2


def test_length_and_truncation():
    outputs = [output for group in usual() for output in group]
    for output in outputs:
        written = len(output.text.split())
        assert str(EOS) not in output.text.split()
        assert output.length == (written if output.truncated else written + 1)
        assert written == MAX_TOKENS if output.truncated else written < MAX_TOKENS
    assert {output.truncated for output in outputs} == {True, False}


def test_a_problem_alone_is_answered_as_among_others():
    assert ask(problems=PROBLEMS[:2], prompts=PROMPTS[:2]) == usual()[:2]


def test_more_samples_extend_fewer():
    assert [outputs[:2] for outputs in usual()] == ask(samples=2)


def test_seeds_differ_and_repeat():
    assert ask(seed=1) != usual()
    assert ask(seed=0) == usual()


def test_greedy_does_not_depend_on_the_seed():
    greedy = Sampling(temperature=0.0)
    first = ask(samples=1, sampling=greedy)
    assert first == ask(samples=1, sampling=greedy, seed=5, batch=8)
    assert len({outputs[0].text for outputs in first}) > 1


# ---- programs and tool use: the same on any mesh and for any batch size too


class Digits(Numbers):
    """Ids as text and back."""

    def encode(self, text):
        return [int(word) for word in text.split()]

    encode_prompt = encode


def asked(form, sizes, batch, monkeypatch, sampling=Sampling(temperature=2.0)):
    """Answers where an 8 is the end of a call; the tool gives back the digit before it."""
    def call(text):
        words = text.split()
        return ' '.join(words[:words.index('8') + 1]) + ' ' if '8' in words else None
    monkeypatch.setattr(tool_turns.tool_text, 'first_open_call', call)
    monkeypatch.setattr(tool_turns.tool_text, 'code_blocks', lambda text: [(['7'] + text.split())[-2]])
    monkeypatch.setattr(tool_turns.tool_text, 'output_block', lambda result: f'{result} ')
    monkeypatch.setattr(tool_turns.tool_text, 'program_answer', lambda result: None if result == '9' else result)
    mesh = sharding.make_mesh(*sizes, devices=jax.devices()[:int(np.prod(sizes))])
    prompts = [Prompt(' '.join(map(str, ids)) + ' ', ids) for ids in PROMPTS]
    with jax.set_mesh(mesh):
        placed = jax.device_put(params(), sharding.parameter_shardings(mesh, params()))
        sampler = Sampler(MODEL, placed, Digits(), mesh, 12, batch)
        return [group for start in range(0, 10, batch)
                for group in answers(sampler, Protocol('any', form, 'answer'), prompts[start:start + batch],
                                     range(10)[start:start + batch], jax.random.key(3), samples=4, sampling=sampling, width=8,
                                     tools=tool_turns.Tools(lambda programs: [program.split()[-1] if program.split() else '9'
                                                                              for program in programs], 2))]


@pytest.mark.parametrize('form', ['tir', 'pot'])
def test_tool_use_is_the_same_on_any_mesh_and_batch_size(form, monkeypatch):
    first = asked(form, (1, 1, 1), 10, monkeypatch)
    assert first == asked(form, (2, 2, 2), 3, monkeypatch)
    outputs = [answer.output for group in first for answer in group]
    assert [len(group) for group in first] == [4] * 10
    if form == 'tir':
        assert len({output.text.count('\n') for output in outputs}) == 3, 'outputs with no, one and two calls'
        assert {output.truncated for output in outputs} == {True, False}
    else:
        assert len({answer.final for group in first for answer in group}) > 3


# ---- many prompts in one call

@pytest.mark.parametrize('turn, batch', [(16, 3), (2, 3), (16, 1)])
def test_refilled_rows_turns_and_limits_are_as_one_prompt_at_a_time(turn, batch, monkeypatch):
    monkeypatch.setattr(generation, 'TURN', turn)
    mesh, limits, ended = sharding.make_mesh(devices=jax.devices()[:1]), [1 + 3 * place % 12 for place in range(10)], []
    with jax.set_mesh(mesh):
        settings = dict(outputs=2, sampling=Sampling(temperature=2.0), width=8)
        sampler = Sampler(MODEL, params(), Numbers(), mesh, 12, batch)
        found = sampler.sample_tokens(PROMPTS, range(10), jax.random.key(3), limits=limits, finished=ended.append, **settings)
        for place, tokens_GT in enumerate(found):
            alone, = sampler.sample_tokens([PROMPTS[place]], [place], jax.random.key(3), limits=[limits[place]], **settings)
            np.testing.assert_array_equal(tokens_GT, alone)
            assert tokens_GT.shape == (2, limits[place])
    assert sorted(ended) == list(range(10))
