"""Which collectives a compiled program runs, how often and on how many bytes, read from its HLO text."""
import collections
import dataclasses
import math
import re

KINDS = ('all-gather', 'all-reduce', 'reduce-scatter', 'all-to-all', 'collective-permute', 'ragged-all-to-all')
BYTES = {'pred': 1, 's8': 1, 'u8': 1, 's16': 2, 'u16': 2, 'bf16': 2, 'f16': 2, 's32': 4, 'u32': 4, 'f32': 4, 's64': 8, 'u64': 8,
         'f64': 8}
_COMPUTATION = re.compile(r'^(ENTRY )?%?([\w.\-]+) \(.*\{$')
_OPERATION = re.compile(r'^\s*(?:ROOT )?%?[\w.\-]+ = (.*?) ([a-z][\w\-]*)\((.*)$')
_ARRAY = re.compile(r'\b([a-z]+\d*)\[([\d,]*)\]')
_CALLED = re.compile(r'(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.\-]+)')
_BRANCHES = re.compile(r'branch_computations=\{([^}]*)\}')


@dataclasses.dataclass
class Collective:
    """How many a step runs, and the bytes of their results on one device."""
    count: int = 0
    bytes: int = 0


def collectives(hlo: str, turns: int = 1) -> dict[str, Collective]:
    """{'all-gather': Collective(count=30, bytes=...), ...}; what a loop holds counts as often as the loop runs.

    turns: how often a loop runs whose number of turns is not in the text (it ends by what it is given or computes).
    """
    computations, entry = _computations(hlo)
    found = collections.defaultdict(Collective)

    def visit(name: str, times: int) -> None:
        for shape, operation, rest in computations.get(name, ()):
            kind = operation.removesuffix('-start')
            if kind in KINDS:
                found[kind].count += times
                found[kind].bytes += times * _result_bytes(operation, shape)
            repeats = (_turns(computations, rest) or turns) if operation == 'while' else 1
            for called in _called(rest):
                visit(called, times * repeats)
    visit(entry, 1)
    return dict(sorted(found.items()))


def array_bytes(shape: str) -> int:
    """'(f32[2,3]{1,0}, bf16[4])' -> 32."""
    return sum(BYTES.get(kind, 0) * math.prod(map(int, filter(None, sizes.split(',')))) for kind, sizes in _ARRAY.findall(shape))


def _computations(hlo: str) -> tuple[dict[str, list[tuple[str, str, str]]], str]:
    """{computation: [(result shape, operation, the rest of its line)]}, and the entry's name."""
    found, entry, operations = {}, '', []
    for line in hlo.splitlines():
        opened = _COMPUTATION.match(line)
        if opened:
            operations = found.setdefault(opened[2], [])
            entry = opened[2] if opened[1] else entry
        elif match := _OPERATION.match(line):
            operations.append(match.groups())
    return found, entry


def _called(rest: str) -> list[str]:
    branches = [name.strip(' %') for names in _BRANCHES.findall(rest) for name in names.split(',')]
    return _CALLED.findall(rest) + branches


def _turns(computations, rest: str) -> int | None:
    """How often a while loop runs: as the compiler noted it, or what its condition compares the counter with, if either."""
    noted = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', rest)
    if noted:
        return int(noted[1])
    condition = re.search(r'condition=%?([\w.\-]+)', rest)[1]
    compared = [line for _, operation, line in computations.get(condition, ()) if operation == 'compare']
    constants = [int(line.split(')')[0]) for shape, operation, line in computations.get(condition, ())
                 if operation == 'constant' and shape.startswith('s32[]')]
    if len(compared) == 1 and 'direction=LT' in compared[0] and len(constants) == 1:
        return constants[0]
    return None


def _result_bytes(operation: str, shape: str) -> int:
    if operation.endswith('-start') and operation != 'all-reduce-start':     # (operand, result, ...)
        return max((array_bytes(f'{kind}[{sizes}]') for kind, sizes in _ARRAY.findall(shape)), default=0)
    return array_bytes(shape)
