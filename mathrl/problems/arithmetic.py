"""Column arithmetic as it is done on paper, right and with the mistakes that people make."""
import dataclasses

OPERATIONS = {'+': lambda x, y: x + y, '-': lambda x, y: x - y, '*': lambda x, y: x * y}


@dataclasses.dataclass(frozen=True)
class Step:
    """One line of a worked solution, x op y = result; the result need not be right."""
    x: int
    op: str
    y: int
    result: int

    def __str__(self) -> str:
        return f'{self.x}{self.op}{self.y}={self.result}'


def step(x: int, op: str, y: int) -> Step:
    """The right step."""
    return Step(x, op, y, OPERATIONS[op](x, y))


def columns(x: int, y: int) -> list[tuple[int, int]]:
    """Digits under each other, units first: 117, 25 -> [(7, 5), (1, 2), (1, 0)]."""
    width = max(len(str(x)), len(str(y)))
    pairs = zip(str(x).zfill(width)[::-1], str(y).zfill(width)[::-1])
    return [(int(upper), int(lower)) for upper, lower in pairs]


def carries(x: int, y: int) -> bool:
    """Whether some column of x + y passes nine."""
    return any(upper + lower > 9 for upper, lower in columns(x, y))


def borrows(x: int, y: int) -> bool:
    """Whether some column of x - y needs a ten from the next; x >= y."""
    return any(upper < lower for upper, lower in columns(x, y))


def forget_ten(x: int, op: str, y: int) -> Step:
    """The step of someone who forgets what was carried or borrowed: 17+25=32, 42-17=35."""
    digits = [OPERATIONS[op](upper, lower) % 10 for upper, lower in columns(x, y)]
    if op == '+' and sum(columns(x, y)[-1]) > 9:
        digits.append(1)   # the last carry is written down, since nothing comes after it
    return Step(x, op, y, sum(digit * 10 ** place for place, digit in enumerate(digits)))


def spelled(done: Step) -> str:
    """The columns of an addition or a subtraction, units first, ending in the step as it was done.

    17+25=42 -> '7+5=12, 1+2+1=4, 17+25=42'; with the carry forgotten '7+5=12, 1+2=3, 17+25=32';
    42-17=25 -> '12-7=5, 4-1-1=2, 42-17=25'.
    """
    if done.op == '*':
        return str(done)
    exact = done.result == OPERATIONS[done.op](done.x, done.y)
    lines, ten = [], 0
    pairs = columns(done.x, done.y)
    for place, (upper, lower) in enumerate(pairs):
        taken = ten if exact else 0
        value = OPERATIONS[done.op](upper, lower) + (taken if done.op == '+' else -taken)
        ten = int(value > 9 or value < 0)
        if done.op == '-' and ten:
            upper, value = upper + 10, value + 10
        if place == len(pairs) - 1 and (upper, lower) == (taken, 0):
            continue
        lines.append(f'{upper}{done.op}{lower}' + (f'{done.op}{taken}' if taken else '') + f'={value}')
    return ', '.join(lines + [str(done)])
