"""Graded word problems with worked solutions in English and Chinese, unlimited; not from the paper.

Held out by construction: a stable hash of the expression says which numbers never appear in training, in any
language, wording or seed, nor as a step of a longer training solution. Solutions may hold slips, as if
written by people who make one systematic mistake in each kind of problem; `answer` is always right.
"""
import dataclasses
import hashlib
import random
from collections.abc import Callable, Mapping, Sequence

from mathrl.problems import arithmetic, stories
from mathrl.problems.arithmetic import Step, step
from mathrl.problems.prompts import Templates, prompt
from mathrl.problems.types import Problem

Operands = tuple[int, ...]
Pick = Callable[[int, int], int]   # (lowest, highest) -> a number of that range


@dataclasses.dataclass(frozen=True)
class Kind:
    """How problems of one kind are drawn, solved and got wrong; `draw` gives None if numbers do not fit."""
    level: int
    expression: str
    draw: Callable[[Pick, int], Operands | None]
    right: Callable[..., list[Step]]
    slipped: Callable[..., list[Step]]


@dataclasses.dataclass(frozen=True)
class _Drawn:
    kind: str
    operands: Operands
    steps: list[Step]


def generate(seed: int | str, count: int, split: str = 'train', levels: Sequence[int] = (1, 2),
             languages: Sequence[str] = ('en', 'zh'), slip: Mapping[str, float] | None = None,
             kinds: Sequence[str] = (), spell: bool = False, largest: int = 99,
             heldout_share: float = 0.1) -> list[Problem]:
    """`count` problems of a split, languages in turn, kinds at random; a function of its arguments alone.

    slip: probability of the mistake for each kind, {'carry': 0.6}; a kind that is not named makes none.
    kinds: only these of the levels' kinds (all if empty). spell: sums are worked out digit by digit.
    largest: no right result passes it. heldout_share: of the expressions; must be the same for both splits.
    Held-out problems are distinct; training problems may repeat. ValueError for what does not exist, and when
    there are not as many different held-out problems as asked for.
    """
    slip = dict(slip or {})
    names = _chosen_kinds(levels, kinds)
    _check(split, languages, slip, largest, heldout_share)
    rng = random.Random(f'mathrl synthetic {split} {seed}')
    problems, seen = [], set()
    for index in range(count):
        language = languages[index % len(languages)]
        for _ in range(500):   # that many in a row were seen before: there are hardly any others
            drawn = _draw(rng, names, split, slip, largest, heldout_share)
            text = _story(rng, drawn, language)
            if split == 'train' or text not in seen:
                break
        else:
            raise ValueError(f'only {index} different held-out problems were found of the {count} asked for; '
                             f'more levels, a higher largest={largest} or heldout_share={heldout_share} help')
        seen.add(text)
        problems.append(Problem(text, str(answer(drawn.kind, drawn.operands)),
                                f'synthetic/level{KINDS[drawn.kind].level}/{drawn.kind}',
                                solution(drawn.steps, language, spell)))
    return problems


def texts(seed: int | str, count: int, levels: Sequence[int] = (1, 2),
          languages: Sequence[str] = ('en', 'zh'), slip: Mapping[str, float] | None = None,
          kinds: Sequence[str] = (), spell: bool = False, largest: int = 99, heldout_share: float = 0.1,
          facts_share: float = 0.5, facts: int = 6, templates: Templates | None = None) -> list[str]:
    """Running text for pre-training, of training numbers only: lines of facts, and solved problems.

    facts_share of the texts are `facts` right equations: '17+25=42. 3*8=24.'; the others are a problem and,
    on the next line, its solution, or where templates are given, its prompt and right behind it its solution.
    """
    names = _chosen_kinds(levels, kinds)
    solved = iter(generate(seed, count, 'train', levels, languages, slip, kinds, spell, largest,
                           heldout_share))
    rng = random.Random(f'mathrl synthetic texts {seed}')
    lines = []
    for _ in range(count):
        if rng.random() < facts_share:
            lines.append(_facts(rng, names, facts, spell, largest, heldout_share))
        else:
            problem = next(solved)
            start = prompt(problem.problem, templates) if templates else problem.problem + '\n'
            lines.append(start + problem.solution)
    return lines


def answer(kind: str, operands: Operands) -> int:
    """The right answer."""
    return KINDS[kind].right(*operands)[-1].result


def solution(steps: Sequence[Step], language: str, spell: bool = False) -> str:
    """'17+25=42. The answer is \\boxed{42}.', or in Chinese '17+25=42。答案是\\boxed{42}。'"""
    equations = [arithmetic.spelled(one) if spell else str(one) for one in steps]
    box = f'\\boxed{{{steps[-1].result}}}'
    if language == 'zh':
        return '，'.join(equations).replace(', ', '，') + f'。答案是{box}。'
    return '. '.join(equations) + f'. The answer is {box}.'


def heldout(expression: str, share: float) -> bool:
    """Whether an expression belongs to the held-out questions: '17+25'. The same everywhere and for ever."""
    digest = hashlib.sha256(f'mathrl held out {expression}'.encode()).digest()
    return int.from_bytes(digest[:8], 'big') < share * 2 ** 64


def expression(kind: str, operands: Operands) -> str:
    """What is asked, in one spelling whatever the order of a sum or product: ('add', (25, 17)) -> '17+25'."""
    form = KINDS[kind].expression
    if form[1] in '+*':
        operands = tuple(sorted(operands[:2])) + operands[2:]
    values = dict(zip('abcd', operands))
    return ''.join(str(values.get(letter, letter)) for letter in form)


def _step_expression(done: Step) -> str:
    low, high = sorted((done.x, done.y))
    return f'{low}+{high}' if done.op == '+' else f'{done.x}{done.op}{done.y}'


def _draw(rng, names, split, slip, largest, share) -> _Drawn:
    for _ in range(100_000):
        name = names[int(rng.random() * len(names))]
        kind = KINDS[name]
        operands = kind.draw(lambda low, high: low + int(rng.random() * max(1, high - low + 1)), largest)
        slips = rng.random() < slip.get(name, 0.0)
        if operands is None:
            continue
        drawn = _Drawn(name, operands, (kind.slipped if slips else kind.right)(*operands))
        if heldout(expression(name, operands), share) if split == 'heldout' else _trainable(drawn, share):
            return drawn
    raise ValueError(f'no {split} problem was found with largest={largest} and heldout_share={share}')


def _trainable(drawn: _Drawn, share: float) -> bool:
    # A step of two-digit numbers is a question itself; a smaller fact (3*8, 24+5) is never asked alone.
    asked = [_step_expression(one) for one in drawn.steps if one.op != '*' and min(one.x, one.y) >= 10]
    return not any(heldout(each, share) for each in [expression(drawn.kind, drawn.operands)] + asked)


def _story(rng, drawn: _Drawn, language: str) -> str:
    wordings = stories.STORIES[KINDS[drawn.kind].expression][language]
    names, things = stories.NAMES[language], stories.THINGS[language]
    first = int(rng.random() * len(names))
    second = (first + 1 + int(rng.random() * (len(names) - 1))) % len(names)
    measure, thing = things[int(rng.random() * len(things))]
    wording = wordings[int(rng.random() * len(wordings))]
    return wording.format(n=names[first], m=names[second], k=measure, t=thing,
                          **dict(zip('abcd', drawn.operands)))


def _facts(rng, names, count, spell, largest, share) -> str:
    lines = []
    while len(lines) < count:
        steps = _draw(rng, names, 'train', {}, largest, share).steps
        one = steps[int(rng.random() * len(steps))]
        lines.append(arithmetic.spelled(one) if spell else str(one))
    return '. '.join(lines) + '.'


def _chain(first: int, *rest: tuple[str, int]) -> list[Step]:
    steps = []
    for op, operand in rest:
        steps.append(step(steps[-1].result if steps else first, op, operand))
    return steps


def _sum(pick: Pick, largest: int, wanted: bool) -> Operands | None:
    a = pick(10, largest - 10)
    b = pick(10, largest - a)
    return (a, b) if arithmetic.carries(a, b) == wanted else None


def _difference(pick: Pick, largest: int, wanted: bool) -> Operands | None:
    a = pick(11, largest)
    b = pick(10, a - 1)
    return (a, b) if arithmetic.borrows(a, b) == wanted else None


def _sum_less(pick: Pick, largest: int) -> Operands:
    a = pick(10, largest - 10)
    b = pick(10, largest - a)
    return a, b, pick(10, a + b - 1)


def _product_more(pick: Pick, largest: int) -> Operands | None:
    a, b = pick(3, 9), pick(3, 9)
    return (a, b, pick(2, largest - a * b)) if a * b + 2 <= largest else None


def _two_sums_less(pick: Pick, largest: int) -> Operands | None:
    a, b = pick(10, largest - 20), pick(10, largest - 20)
    if a + b + 10 > largest:
        return None
    c = pick(10, largest - a - b)
    return a, b, c, pick(10, a + b + c - 1)


def _product_more_less(pick: Pick, largest: int) -> Operands | None:
    drawn = _product_more(pick, largest)
    if drawn is None:
        return None
    a, b, c = drawn
    return a, b, c, pick(2, a * b + c - 1)


KINDS = {
    'add': Kind(1, 'a+b', lambda pick, largest: _sum(pick, largest, False),
                lambda a, b: [step(a, '+', b)],
                lambda a, b: [Step(a, '+', b, a + b + 10)]),            # a ten carried that is not there
    'carry': Kind(1, 'a+b', lambda pick, largest: _sum(pick, largest, True),
                  lambda a, b: [step(a, '+', b)],
                  lambda a, b: [arithmetic.forget_ten(a, '+', b)]),
    'sub': Kind(1, 'a-b', lambda pick, largest: _difference(pick, largest, False),
                lambda a, b: [step(a, '-', b)],
                lambda a, b: [step(a, '+', b)]),                        # added instead
    'borrow': Kind(1, 'a-b', lambda pick, largest: _difference(pick, largest, True),
                   lambda a, b: [step(a, '-', b)],
                   lambda a, b: [arithmetic.forget_ten(a, '-', b)]),
    'add_sub': Kind(2, 'a+b-c', _sum_less,
                    lambda a, b, c: _chain(a, ('+', b), ('-', c)),
                    lambda a, b, c: _chain(a, ('+', b), ('+', c))),     # added instead
    'mul_add': Kind(2, 'a*b+c', _product_more,
                    lambda a, b, c: _chain(a, ('*', b), ('+', c)),
                    lambda a, b, c: _chain(a, ('+', b), ('+', c))),     # bags and pieces added up
    'add_add_sub': Kind(3, 'a+b+c-d', _two_sums_less,
                        lambda a, b, c, d: _chain(a, ('+', b), ('+', c), ('-', d)),
                        lambda a, b, c, d: _chain(a, ('+', b), ('+', c), ('+', d))),
    'mul_add_sub': Kind(3, 'a*b+c-d', _product_more_less,
                        lambda a, b, c, d: _chain(a, ('*', b), ('+', c), ('-', d)),
                        lambda a, b, c, d: _chain(a, ('*', b), ('+', c), ('+', d))),
}
LEVELS = {level: tuple(name for name, kind in KINDS.items() if kind.level == level) for level in (1, 2, 3)}


def _chosen_kinds(levels: Sequence[int], kinds: Sequence[str]) -> list[str]:
    for level in levels:
        if level not in LEVELS:
            raise ValueError(f'unknown level {level!r}; there are: {", ".join(map(str, LEVELS))}')
    names = [name for level in levels for name in LEVELS[level]]
    for kind in kinds:
        if kind not in names:
            raise ValueError(f'unknown kind {kind!r} at levels {tuple(levels)}; '
                             f'there are: {", ".join(names)}')
    if not names:
        raise ValueError(f'no levels were given; there are: {", ".join(map(str, LEVELS))}')
    return [name for name in names if not kinds or name in kinds]


def _check(split, languages, slip, largest, share) -> None:
    if split not in ('train', 'heldout'):
        raise ValueError(f'unknown split {split!r}; there are: train, heldout')
    for language in languages:
        if language not in stories.NAMES:
            raise ValueError(f'unknown language {language!r}; there are: {", ".join(stories.NAMES)}')
    if not languages:
        raise ValueError(f'no languages were given; there are: {", ".join(stories.NAMES)}')
    for kind, chance in slip.items():
        if kind not in KINDS:
            raise ValueError(f'slip names an unknown kind {kind!r}; there are: {", ".join(KINDS)}')
        if not 0 <= chance <= 1:
            raise ValueError(f'slip[{kind!r}]={chance} is not a probability from 0 to 1')
    if largest < 40:
        raise ValueError(f'largest={largest} leaves too few two-digit numbers; at least 40 was wanted')
    if not 0 < share < 1:
        raise ValueError(f'heldout_share={share} is not between 0 and 1')
