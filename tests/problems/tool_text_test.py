"""Programs in a model's output, and what it is shown of their results."""
import pytest

from mathrl.problems.python_tool import ToolResult
from mathrl.problems.tool_text import code_blocks, first_open_call, output_block, program, program_answer

TRACEBACK = ('Traceback (most recent call last):\n  File "<snippet>", line 2, in <module>\n'
             'ZeroDivisionError: division by zero\n')
SYNTAX = '  File "<snippet>", line 1\n    f(:\n      ^\nSyntaxError: invalid syntax\n'


@pytest.mark.parametrize('text, blocks', [
    ('no code', []), ('', []), ('```\nprint(1)\n```', []), ('```pythonic\nx\n```', []),
    ('So\n```python\nprint(1)\n```\nand\n```python\nx =', ['print(1)\n', 'x =']),
    ('```python\nprint(1)\n```\n```output\n1\n```\nSo 1.', ['print(1)\n']),
    ('```python\nprint(1)\n```output\n1\n```\n', ['print(1)\n']),
    ('Run: ```py \nprint(1)```', ['print(1)']),
])
def test_code_blocks(text, blocks):
    assert code_blocks(text) == blocks


@pytest.mark.parametrize('text, call', [
    ('no code', None), ('```python\nprint(1', None), ('```python\nprint(1)\n```\n```output\n1\n```\nSo 1.', None),
    ('```python\nprint(1)\n```output\n1\n```\n', None), ('```\nx\n```', None),
    ('A\n```python\nprint(1)\n```\nSo 1.', 'A\n```python\nprint(1)\n```'),
    ('```python\na\n```\n```output\n1\n```\nB\n```python\nb\n```\n\nC',
     '```python\na\n```\n```output\n1\n```\nB\n```python\nb\n```'),
    ('```python\na\n```\n```python\nb\n```\n```output\n1\n```', '```python\na\n```'),
])
def test_first_open_call(text, call):
    assert first_open_call(text) == call


def test_a_call_and_its_output_are_no_open_call():
    text = first_open_call('A\n```python\nprint(1)\n```') + '\n' + output_block(ToolResult('1\n', 'ok', 0.1))
    assert text == 'A\n```python\nprint(1)\n```\n```output\n1\n```\n'
    assert first_open_call(text + 'more') is None


@pytest.mark.parametrize('output, status, shown', [
    ('2\n', 'ok', '2'), ('', 'ok', ''), ('a\nb\n\n', 'ok', 'a\nb'),
    (TRACEBACK, 'error', 'ZeroDivisionError: division by zero'),
    ('1\n2\n' + TRACEBACK, 'error', '1\n2\nZeroDivisionError: division by zero'),
    (SYNTAX, 'error', 'SyntaxError: invalid syntax'), ('', 'error', ''),
    ('1\n', 'timeout', '1\nTimeoutError: the program ran too long'), ('', 'out of memory', 'MemoryError'),
    ('', 'killed', 'the program was killed'), ('```\n```python\nx\n```', 'ok', "'''\n'''python\nx\n'''"),
])
def test_output_block(output, status, shown):
    assert output_block(ToolResult(output, status, 0.1)) == f'```output\n{shown}\n```\n'


def test_output_block_is_short():
    for output, status in [('x' * 10 ** 5, 'ok'), ('x' * 10 ** 5, 'output limit'), (TRACEBACK * 500, 'error'),
                           (TRACEBACK[:-1] + 'y' * 10 ** 5, 'error')]:
        assert len(output_block(ToolResult(output, status, 0.1))) < 2600
    assert output_block(ToolResult('x' * 99, 'ok', 0.1), characters=3) == '```output\nxxx\n...\n```\n'


@pytest.mark.parametrize('output, status, answer', [
    ('x is\n42\n\n', 'ok', '42'), (' 42 ', 'ok', '42'), ('', 'ok', None), ('\n \n', 'ok', None), ('42\n', 'error', None),
    ('42\n', 'timeout', None),
])
def test_program_answer(output, status, answer):
    assert program_answer(ToolResult(output, status, 0.1)) == answer


def test_one_block_is_run_as_it_is():
    assert program(['print(1)\n']) == 'print(1)\n'
