"""Programs and their outputs as text: what a model writes between ```python and ```, and gets back as ```output.

A block runs in a process of its own, behind the earlier blocks of its output: it finds their variables, as in a notebook.
"""
import re
from collections.abc import Sequence

from mathrl.problems.python_tool import ToolResult

# A block ends at ```, at an ```output that the model wrote without closing its code, or where the text ends.
BLOCK = re.compile(r'```(?:python|py)[ \t]*\n(?P<code>.*?)(?P<end>```(?!output)|(?=```output)|\Z)', re.DOTALL)
# Where an exception's report begins: a syntax error's has no first line.
REPORT = re.compile(r'^(?:Traceback \(most recent call last\):|  File "<snippet>", line \d+)$', re.MULTILINE)
LAST_LINES = {'timeout': 'TimeoutError: the program ran too long', 'output limit': '...',
              'out of memory': 'MemoryError', 'killed': 'the program was killed'}
# Line breaks of the blocks are escaped in a literal, and what they print or raise was shown before.
EARLIER = """import contextlib, io
for block in {blocks!r}:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(Exception):
        exec(block)
"""
LINE = 500      # characters kept of an exception's message


def code_blocks(text: str) -> list[str]:
    """The code of each ```python block, a last one that is cut included.

    'So\\n```python\\nprint(1)\\n```\\nand\\n```python\\nx =' -> ['print(1)\\n', 'x =']
    """
    return [match['code'] for match in BLOCK.finditer(text)]


def program(blocks: Sequence[str]) -> str:
    """What is run for the last block: the earlier ones in silence, then the block.

    As the paper's authors do (evaluation code of deepseek-ai/DeepSeek-Math). ['x = 2\n', 'print(x)\n'] prints 2.
    """
    *earlier, last = blocks
    return EARLIER.format(blocks=earlier) + last if earlier else last


def first_open_call(text: str) -> str | None:
    """The text up to the end of its first closed ```python block that no ```output follows; None: there is none.

    'A\\n```python\\nprint(1)\\n```\\nSo it is 2' -> 'A\\n```python\\nprint(1)\\n```': the block to run is the last
    of its code_blocks, and the text to go on from is this, a line break, and output_block(result).
    """
    for match in BLOCK.finditer(text):
        if match['end'] and not text[match.end():].lstrip().startswith('```output'):
            return text[:match.end()]
    return None


def output_block(result: ToolResult, characters: int = 2000) -> str:
    """What the model is shown: ToolResult('2\\n', 'ok', 0.01) -> '```output\\n2\\n```\\n'.

    Of an exception only its last line is shown (as in ToRA), below what was printed before it; what was printed is cut
    after so many characters; a timeout or a lack of memory is named. Fences in the output are made harmless.
    """
    printed, last = result.output, LAST_LINES.get(result.status, '')
    report = REPORT.search(printed) if result.status in ('error', 'out of memory') else None
    if report:
        printed, last = printed[:report.start()], printed.rstrip().rsplit('\n', 1)[-1][:LINE]
    printed = printed.rstrip()
    if len(printed) > characters:
        printed, last = printed[:characters], last or '...'
    text = '\n'.join(part for part in (printed, last) if part).replace('```', "'''")
    return f'```output\n{text}\n```\n'


def program_answer(result: ToolResult) -> str | None:
    """The answer of a program of thought: its last line that is not empty; None if it printed none or did not end well.

    ToolResult('x is\\n42\\n\\n', 'ok', 0.01) -> '42'
    """
    lines = [line.strip() for line in result.output.splitlines() if line.strip()]
    return lines[-1] if lines and result.status == 'ok' else None
