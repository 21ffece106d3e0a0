"""Benchmarks read from the files that their authors publish (one JSON object a line; MGSM: tabs), or from TFDS.

The files of the paper's evaluation code are read too where they differ (MMLU-STEM), and every benchmark in our own format:
problem, answer, and perhaps solution and a level.
"""
import dataclasses
import logging
import re
from typing import Any, Callable, Iterator

from etils import epath

from mathrl import records
from mathrl.problems import extract
from mathrl.problems.printed import as_mathematics
from mathrl.problems.types import Problem

TFDS = 'tfds:'
LETTERS = 'ABCDEFGHIJ'
# The subjects that MMLU's authors count as STEM; other lists count anatomy too.
STEM = frozenset('''
abstract_algebra astronomy college_biology college_chemistry college_computer_science college_mathematics
college_physics computer_security conceptual_physics electrical_engineering elementary_mathematics
high_school_biology high_school_chemistry high_school_computer_science high_school_mathematics
high_school_physics high_school_statistics machine_learning'''.split())
# Two solutions of MATH's training set end in a box without braces.
_BARE_BOX = re.compile(r'\\boxed +(\d+)[.$]*\s*\Z')
_POWER_OF_TEN = re.compile(r'[+-]?\d+(?:\.\d+)?[eE][+-]?\d+')


class LeftOut(Exception):
    """A row that is well formed and not asked; the argument says why, in a few words."""


@dataclasses.dataclass(frozen=True)
class Format:
    """One way to publish a benchmark: the fields that tell it, and parse(row) -> (problem, answer, solution).

    parse raises ValueError with what is wrong with a field, or LeftOut.
    """
    fields: tuple[str, ...]
    parse: Callable[[dict], tuple[str, str, str]]


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """title: as tables print it. levels: the field, of one of these names, that scores are broken down by; a bare number
    gets level_word."""
    title: str
    formats: tuple[Format, ...]
    levels: tuple[str, ...] = ('level',)
    level_word: str = 'Level'


def read_benchmark(name: str, path: str) -> list[Problem]:
    """The problems of a benchmark's file, in its order; `tfds:NAME:SPLIT` reads from TFDS.

    ('gsm8k', row {"question": "1+1?", "answer": "1+1=2\\n#### 2"}) -> Problem('1+1?', '2', 'gsm8k', '1+1=2').
    Rows without an answer and, of MMLU, subjects outside STEM are left out with a warning. ValueError is one sentence:
    the file, the line, what came and what was wanted.
    """
    benchmark = find(name)
    problems, left_out = [], {}
    for where, row in _rows(str(path)):
        try:
            problems.append(_problem(name, benchmark, row))
        except LeftOut as reason:
            left_out.setdefault(str(reason), []).append(where)
        except ValueError as error:
            raise ValueError(f'{path} {where}: {error}') from None
    for reason, places in left_out.items():
        logging.warning('%s: left out %d problems (%s), the first in %s', path, len(places), reason, places[0])
    if not problems:
        raise ValueError(f'{path}: none of its rows is a problem of {name} with an answer')
    return problems


def find(name: str) -> Benchmark:
    if name not in BENCHMARKS:
        raise ValueError(f'there is no benchmark {name!r}; there are: {", ".join(BENCHMARKS)}')
    return BENCHMARKS[name]


# ---- rows


def _rows(path: str) -> Iterator[tuple[str, dict]]:
    if path.endswith('.tsv'):
        yield from _tabbed_rows(epath.Path(path))
        return
    if not path.startswith(TFDS):
        yield from ((f'line {number}', row) for number, row in records.numbered_rows(path))
        return
    parts = path.split(':')
    if len(parts) != 3 or not all(parts):
        raise ValueError(f'{path!r} names no data set of TFDS; tfds:NAME:SPLIT was wanted, such as tfds:gsm8k:test')
    import tensorflow_datasets
    data = tensorflow_datasets.load(parts[1], split=parts[2], shuffle_files=False)
    for number, row in enumerate(tensorflow_datasets.as_numpy(data), 1):
        yield f'row {number}', {key: value.decode() if isinstance(value, bytes) else value for key, value in row.items()}


def _tabbed_rows(path: epath.Path) -> Iterator[tuple[str, dict]]:
    """Lines of a question, a tab and its answer, without a head."""
    if not path.is_file():
        raise ValueError(f'{path}: there is no such file; lines of a question, a tab and its answer were wanted')
    with path.open('rb') as file:
        for number, line in enumerate(file, start=1):
            try:
                question, answer = line.decode('utf-8-sig').rstrip('\r\n').split('\t')
            except ValueError:                          # not UTF-8, or not two fields
                raise ValueError(f'{path} line {number} is {line[:60]!r}; a question, a tab and its answer in UTF-8 were '
                                 'wanted') from None
            yield f'line {number}', {'question': question, 'answer': answer}


def _problem(name: str, benchmark: Benchmark, row: dict) -> Problem:
    for form in benchmark.formats:
        if all(field in row for field in form.fields):
            problem, answer, solution = form.parse(row)
            level = next((row[field] for field in benchmark.levels if field in row), None)
            return Problem(problem, answer, name, solution, _level(level, benchmark.level_word))
    wanted = ' or '.join(' + '.join(form.fields) for form in benchmark.formats)
    raise ValueError(f'a row of {name} has the fields {wanted}; this one has: {", ".join(row) or "none"}')


def _level(value: Any, word: str) -> str:
    if value is None or isinstance(value, (bool, list, dict)):
        return ''
    text = str(value).strip()
    return f'{word} {text}'.strip() if text.isdigit() else text


# ---- fields


def _text(row: dict, field: str) -> str:
    value = row[field]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f'field {field!r} is {value!r:.60}; text was wanted')
    return value.strip()


def _answer(row: dict, field: str) -> str:
    """142.0 -> '142': some files hold every answer as a float."""
    value = row[field]
    if value is None or value == '':
        raise LeftOut('no answer')
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _text(row, field)


def _solution(row: dict) -> str:
    value = row.get('solution')
    return value if isinstance(value, str) else ''


def with_options(question: str, options: list[str]) -> str:
    """('Which?', ['(A)4', '(B)5']) -> 'Which?\\n(A) 4\\n(B) 5'; options may come with or without their letters."""
    lines = [question]
    for letter, option in zip(LETTERS, options):
        bare = re.sub(rf'^\s*(?:[(（]{letter}[)）]|{letter}\s*[.．、:：)）])\s*', '', option)
        lines.append(f'({letter}) {bare.strip()}')
    return '\n'.join(lines)


def _options(row: dict, field: str) -> list[str]:
    options = row[field]
    if not isinstance(options, list) or not 2 <= len(options) <= len(LETTERS):
        raise ValueError(f'field {field!r} is {options!r:.60}; a list of 2 to {len(LETTERS)} options was wanted')
    return [str(option) for option in options]


def _letter(value: Any, field: str, count: int) -> str:
    """'b', 'B', 1 or '1' -> 'B', of `count` options."""
    text = str(value).strip().strip('()').upper()
    if not isinstance(value, bool) and text.isdigit() and int(text) < count:
        return LETTERS[int(text)]
    if len(text) != 1 or text not in LETTERS[:count]:
        raise ValueError(f'field {field!r} is {value!r:.60}; one of the {count} options was wanted, '
                         f'{LETTERS[0]} to {LETTERS[count - 1]}')
    return text


# ---- formats


def _plain(row: dict) -> tuple[str, str, str]:
    return _text(row, 'problem'), _answer(row, 'answer'), _solution(row)


def _gsm8k(row: dict) -> tuple[str, str, str]:
    worked, mark, answer = _text(row, 'answer').rpartition('####')
    if not mark or not answer.strip():
        raise ValueError(f"field 'answer' is {row['answer'][-60:]!r}; a worked answer ending in '#### ' and a number "
                         'was wanted')
    return _text(row, 'question'), answer.strip().replace(',', ''), worked.strip()


def _boxed(row: dict) -> tuple[str, str, str]:
    solution = _text(row, 'solution')
    bare = _BARE_BOX.search(solution)
    answer = bare[1] if bare else extract.boxed(solution)
    if answer is None:
        raise ValueError(f"field 'solution' ends in {solution[-60:]!r}; a \\boxed{{answer}} was wanted in it")
    return _text(row, 'problem'), answer, solution


def _ocw(form: Format) -> Format:
    """Numbers such as 4.5e33, and functions such as np.arcsin(10/13), as mathematics."""
    def parse(row):
        problem, answer, solution = form.parse(row)
        answer = re.sub(r'\bnp\.(?=[a-z])', '', answer)
        return problem, as_mathematics(answer) if _POWER_OF_TEN.fullmatch(answer) else answer, solution
    return Format(form.fields, parse)


def _question(answer: str, question: str = 'question') -> Format:
    return Format((question, answer), lambda row: (_text(row, question), _answer(row, answer), _solution(row)))


def _choices(options: str, label: str) -> Format:
    def parse(row):
        choices = _options(row, options)
        if row[label] is None:
            raise LeftOut('no answer')
        question = _text(row, 'question').rstrip('\\ ')        # AGIEval's end in a line break of LaTeX
        return with_options(question, choices), _letter(row[label], label, len(choices)), _solution(row)
    return Format(('question', options, label), parse)


def _stem(form: Format) -> Format:
    def parse(row):
        subject = row.get('subject', row.get('topic'))
        if isinstance(subject, str) and subject.strip().lower().replace(' ', '_') not in STEM:
            raise LeftOut('a subject outside STEM')
        return form.parse(row)
    return Format(form.fields, parse)


def _lettered(label: str) -> Format:
    """Options in fields of their own, as in a table: question, A, B, C, D and the answer."""
    form = _choices('options', label)
    return Format(('question', *'ABCD', label),
                  lambda row: form.parse({**row, 'options': [str(row[letter]) for letter in 'ABCD']}))


PLAIN = Format(('problem', 'answer'), _plain)
MATH = (PLAIN, Format(('problem', 'solution'), _boxed))
AGIEVAL_CHOICE = (_choices('options', 'label'), PLAIN)
COMPETITION = (PLAIN, Format(('Problem', 'Answer'), lambda row: _plain({'problem': row['Problem'], 'answer': row['Answer']})),
               _question('answer'))

BENCHMARKS = {
    'gsm8k': Benchmark('GSM8K', (Format(('question', 'answer'), _gsm8k), PLAIN)),
    'math': Benchmark('MATH', MATH),
    'math500': Benchmark('MATH-500', MATH),
    'ocw': Benchmark('OCW', tuple(map(_ocw, MATH))),
    'sat': Benchmark('SAT', AGIEVAL_CHOICE),
    'mmlu_stem': Benchmark('MMLU-STEM', tuple(map(_stem, (
        _choices('choices', 'answer'), _choices('options', 'answer'), _lettered('answer'), _lettered('target'), PLAIN))),
        ('subject', 'topic'), ''),
    'cmath': Benchmark('CMATH', (_question('golden'), _question('golden', 'input'), _question('answer'), PLAIN), ('grade',),
                       'grade'),
    'mgsm_zh': Benchmark('MGSM-zh', (_question('answer_number'), _question('answer'), PLAIN)),
    'gaokao_mathcloze': Benchmark('Gaokao-MathCloze', (_question('answer'), PLAIN)),
    'gaokao_mathqa': Benchmark('Gaokao-MathQA', AGIEVAL_CHOICE),
    'aime': Benchmark('AIME', COMPETITION),
    'amc': Benchmark('AMC', COMPETITION),
}
