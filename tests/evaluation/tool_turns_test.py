"""Tool use: only outputs with an open call go on, within rounds and tokens; programs answer by what they print."""
import jax
import pytest

from mathrl.evaluation import tool_turns
from mathrl.evaluation.generation import Written
from mathrl.evaluation.tool_turns import MAX_OUTPUTS, Tools, go_on, run_programs
from mathrl.problems import exemplars_program
from mathrl.problems import tool_text
from mathrl.problems.prompts import Prompt
from mathrl.problems.python_tool import PythonTool, SandboxUnavailable, ToolResult
from mathrl.problems.verdict import grade
from mathrl.sampling.filters import Sampling

CALL = 'Let us see.\n```python\nprint(6 * 7)\n```'
ANSWERED = CALL + '\n```output\n42\n```\n'


class Characters:
    """A token a character."""
    stop_ids, pad_id = (0,), 0

    def encode(self, text):
        return [ord(character) for character in text]

    encode_prompt = encode

    def decode(self, ids):
        return ''.join(map(chr, ids))


class Script:
    """A sampler that writes what `says` gives for a prompt's text, and keeps what it was asked."""

    def __init__(self, says, max_tokens=400):
        self.tokenizer, self.max_tokens, self._says, self.asked = Characters(), max_tokens, says, []

    def sample(self, prompts, questions, key, *, outputs, sampling, width, limits):
        assert outputs == 1 and all(len(prompt) <= width for prompt in prompts)
        assert all(1 < limit <= self.max_tokens for limit in limits)
        self.asked.append((list(questions), width, jax.random.key_data(key).tolist()))
        return [[self.write(self._says(self.tokenizer.decode(prompt)))] for prompt in prompts]

    def write(self, text):
        return Written(text[:self.max_tokens], min(len(text) + 1, self.max_tokens), len(text) >= self.max_tokens)


def calculator(programs):
    """Prints what a few known programs print, each a line behind the earlier blocks."""
    known = {'print(6 * 7)': '42\n', 'print(1)': '1\n', 'print()': '\n', 'loop': ''}
    return [ToolResult(known[program.strip().rsplit('\n', 1)[-1]], 'timeout' if program == 'loop' else 'ok', 0.01) for program in programs]


def ask(script, firsts, rounds=4, prompt='P'):
    prompts = [Prompt(prompt, script.tokenizer.encode(prompt)) for _ in firsts]
    groups = [[script.write(text) for text in group] for group in firsts]
    return go_on(script, groups, prompts, range(5, 5 + len(firsts)), jax.random.key(0), sampling=Sampling(),
                 tools=Tools(calculator, rounds))


def test_an_output_without_a_call_stays_as_it_is():
    script = Script(None)
    [[output]] = ask(script, [['It is \\boxed{42}.']])
    assert output == Written('It is \\boxed{42}.', 18, False) and not script.asked


def test_a_call_is_run_and_the_model_goes_on_behind_its_output():
    script = Script({'P' + ANSWERED: 'So \\boxed{42}.'}.__getitem__)
    [[output]] = ask(script, [[CALL]])
    assert output.text == ANSWERED + 'So \\boxed{42}.'
    assert (output.length, output.truncated) == (len(CALL) + len('So \\boxed{42}.') + 1, False)


@pytest.mark.parametrize('invented', ['\n```output\n41\n```\nSo \\boxed{41}.', '\nIt prints 41.', '\n```python\nprint(1)\n```',
                                      '\n\n```output\n41'])
def test_what_the_model_invents_behind_a_call_is_cut_off(invented):
    script = Script({'P' + ANSWERED: 'So \\boxed{42}.'}.__getitem__)
    assert ask(script, [[CALL + invented]])[0][0].text == ANSWERED + 'So \\boxed{42}.'


def test_only_outputs_that_call_go_on_each_with_its_own_number():
    script = Script(lambda prompt: 'Done.')
    outputs = ask(script, [['a', CALL, 'b'], [CALL, 'c', CALL]])
    assert [[output.text for output in group] for group in outputs] == [
        ['a', ANSWERED + 'Done.', 'b'], [ANSWERED + 'Done.', 'c', ANSWERED + 'Done.']]
    assert [questions for questions, *_ in script.asked] == [[5 * MAX_OUTPUTS + 1, 6 * MAX_OUTPUTS, 6 * MAX_OUTPUTS + 2]]


def test_a_second_call_gets_its_own_output_and_another_key():
    says = {'P' + ANSWERED: 'Again.\n```python\nprint(1)\n```',
            'P' + ANSWERED + 'Again.\n```python\nprint(1)\n```\n```output\n1\n```\n': 'Done.'}
    script = Script(says.__getitem__)
    assert ask(script, [[CALL]])[0][0].text.endswith('```output\n1\n```\nDone.')
    assert len({tuple(key) for *_, key in script.asked}) == 2


def test_a_later_call_is_run_behind_the_earlier_ones():
    script, asked = Script(lambda prompt: CALL, max_tokens=4000), []
    prompts, keep = [Prompt('P', script.tokenizer.encode('P'))], lambda programs: asked.extend(programs) or calculator(programs)
    go_on(script, [[script.write(CALL)]], prompts, [0], jax.random.key(0), sampling=Sampling(), tools=Tools(keep, 2))
    block = tool_text.code_blocks(CALL)
    assert asked == [tool_text.program(block), tool_text.program(block * 2)] and asked[0] != asked[1]


@pytest.mark.parametrize('rounds, calls', [(0, 0), (1, 1), (3, 3)])
def test_rounds_are_bounded(rounds, calls):
    script = Script(lambda prompt: CALL, max_tokens=4000)
    [[output]] = ask(script, [[CALL]], rounds)
    assert len(script.asked) == calls and output.text.count('```output') == calls
    assert output.truncated and output.text.endswith(CALL)


def test_tokens_are_bounded_tool_output_among_them():
    script = Script(lambda prompt: 'x' * 400, max_tokens=len(ANSWERED) + 10)
    [[output]] = ask(script, [[CALL]])
    assert output.text == ANSWERED + 'x' * 10 and output.truncated
    assert output.length == len(CALL) + 10
    script = Script(None, max_tokens=len(ANSWERED))
    [[output]] = ask(script, [[CALL]])
    assert output.text == ANSWERED and output.truncated and not script.asked


def test_prompts_of_a_round_have_few_widths_each_from_its_own_length():
    script = Script(lambda prompt: 'Done.', max_tokens=2000)
    long = 'y' * 300 + CALL
    ask(script, [[CALL, long, CALL]])
    assert [(len(questions), width) for questions, width, _ in script.asked] == [(2, 64), (1, 512)]


def test_programs_answer_by_the_last_line_that_they_print():
    outputs = [[Written('\nprint(6 * 7)', 9, False), Written('loop', 9, True)], [Written('print(1)', 9, False)]]
    [[first, second], [third]] = run_programs(outputs, Tools(calculator))
    assert first == (Written('```python\nprint(6 * 7)\n```\n```output\n42\n```\n', 9, False), '\\boxed{42}')
    assert second[1] == '' and second[0].truncated and '```python\nloop\n```' in second[0].text
    assert third[1] == '\\boxed{1}'


def test_other_processes_take_what_the_first_one_got(monkeypatch):
    """A process without a sandbox goes on from the texts that it is sent."""
    script = Script({'P' + CALL + '\n' + 'block': 'Done.'}.__getitem__)
    monkeypatch.setattr(tool_turns, 'on_first_host', lambda compute: ['block'])
    prompts, groups = [Prompt('P', [80])], [[script.write(CALL)]]
    [[output]] = go_on(script, groups, prompts, [0], jax.random.key(0), sampling=Sampling(), tools=Tools(None))
    assert output.text == f'{CALL}\nblockDone.'


def test_in_the_real_sandbox():
    try:
        with PythonTool(workers=1) as tool:
            script = Script({'P' + ANSWERED: 'So \\boxed{42}.'}.__getitem__)
            prompts, groups = [Prompt('P', [80])], [[script.write(CALL)]]
            [[output]] = go_on(script, groups, prompts, [0], jax.random.key(0), sampling=Sampling(), tools=Tools(tool.run_all))
            shown = exemplars_program.GSM8K + exemplars_program.MATH
            programs = [[Written(f'\n{exemplar.solution}', 1, False) for exemplar in shown]]
            [printed] = run_programs(programs, Tools(tool.run_all))
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    assert output.text == ANSWERED + 'So \\boxed{42}.'
    assert all(grade(final, exemplar.answer).correct for (_, final), exemplar in zip(printed, shown))
