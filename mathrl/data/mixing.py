"""Packed folders read as one: rows of each at exact rates, and still batch = f(seed, step).

The rule: of a source with the share p, row j stands at the place (j + 1/2) / p, and rows are read in the order of their
places (equal places: in the order of the rates). Rates are ratios of whole numbers, so this repeats: with rates 56, 4, 10,
20 and 10 each 50 rows from a multiple of 50 on hold exactly 28, 2, 5, 10 and 5. Where a row lies in its period says which
source it is of and how many of that source came before, whatever the step: nothing is counted up.
"""
import dataclasses
import fractions
import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath

from mathrl.data import packed

LONGEST = 1_000_000     # rows of a period


@dataclasses.dataclass(frozen=True)
class Mixed:
    """The packed folders in `folder` that rates name, {'corpus': 56, 'arxiv': 10}: any positive numbers.

    In place of a packed folder's name; `open` is called where packed rows are read.
    """
    folder: str
    rates: Mapping[str, float]

    def open(self) -> 'MixedReader':
        folder = epath.Path(self.folder)
        packed_ones = sorted(file.parent.name for file in folder.glob(f'*/{packed.MANIFEST}'))
        unknown = [name for name in self.rates if not (folder / name).exists()]
        if unknown:
            raise ValueError(f'rates name {unknown[0]!r}; packed in {folder} are: {", ".join(packed_ones) or "none"}')
        check_rates(self.rates, list(self.rates))
        return MixedReader({name: packed.open_packed(folder / name) for name in self.rates}, self.rates)


class MixedReader:
    """Has the names of `packed.PackedReader`."""

    def __init__(self, readers: Mapping[str, packed.PackedReader], rates: Mapping[str, float]):
        self.schedule = Schedule(rates)
        self._names, self._readers = list(rates), [readers[name] for name in rates]
        first = self._readers[0]
        for name, reader in readers.items():
            for field in ('row_length', 'tokenizer_digest'):
                one, other = getattr(reader, field), getattr(first, field)
                if one != other:
                    raise ValueError(f'{name} was packed with {field} {one!s:.12}, {self._names[0]} with {other!s:.12}; '
                                     'to be mixed they must be the same')
        self.row_length, self.tokenizer_digest = first.row_length, first.tokenizer_digest
        self.rows = sum(reader.rows for reader in self._readers)
        self.manifest = {'task': 'mixture', 'row_length': self.row_length, 'rows': self.rows,
                         'tokenizer_digest': self.tokenizer_digest, 'rates': dict(rates),
                         'parts': {name: reader.manifest for name, reader in readers.items()}}

    def batch(self, seed: int, step: int, batch_size: int, rows: slice = slice(None)) -> dict[str, np.ndarray]:
        """As PackedReader.batch; each source goes through permutations of its own."""
        order = np.arange(step * batch_size, (step + 1) * batch_size)[rows]
        sources, numbers = self.schedule(order)
        found = np.empty((len(order), len(packed.FIELDS), self.row_length), np.int32)
        for source in np.unique(sources):
            mine = sources == source
            found[mine] = self._readers[source].in_order(source_seed(seed, self._names[source]), numbers[mine])
        return packed.as_batch(found)


class Schedule:
    """Row number -> (source, number within the source), by the rule above. ValueError where rates have no short period."""

    def __init__(self, rates: Mapping[str, float]):
        exact = [fractions.Fraction(str(rate)) for rate in rates.values()]
        unit = math.lcm(*(rate.denominator for rate in exact))
        whole = [int(rate * unit) for rate in exact]
        self.weights = np.array([weight // math.gcd(*whole) for weight in whole])
        self.period = int(self.weights.sum())
        if self.period > LONGEST:
            raise ValueError(f'rates {dict(rates)} repeat after {self.period} rows; at most {LONGEST} was wanted: '
                             'give them with fewer digits')
        counts = np.concatenate([np.arange(weight) for weight in self.weights])
        sources = np.repeat(np.arange(len(whole)), self.weights)
        # (j + 1/2) / p as whole numbers over one denominator, so that no rounding decides an order.
        places = [(2 * int(count) + 1) * math.lcm(*map(int, self.weights)) // int(self.weights[source])
                  for count, source in zip(counts, sources)]
        order = sorted(range(self.period), key=places.__getitem__)
        self._sources, self._counts = sources[order], counts[order]

    def __call__(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        periods, slots = np.divmod(rows, self.period)
        sources = self._sources[slots]
        return sources, periods * self.weights[sources] + self._counts[slots]


def source_seed(seed: int, name: str) -> int:
    """A seed for each source, which depends on no other source."""
    return int.from_bytes(hashlib.blake2b(f'{seed} {name}'.encode(), digest_size=8).digest(), 'big')


def check_rates(rates: Mapping[str, float], names: Sequence[str]) -> None:
    """ValueError unless there is a positive rate for each name, and for no other."""
    if not rates:
        raise ValueError(f'no rates are given; one for each of {", ".join(names)} was wanted')
    for name, rate in rates.items():
        if name not in names:
            raise ValueError(f'rates name {name!r}; there are: {", ".join(names)}')
        if not rate > 0 or math.isinf(rate):
            raise ValueError(f'the rate of {name!r} is {rate}; a number above 0 was wanted')
    missing = [name for name in names if name not in rates]
    if missing:
        raise ValueError(f'rates name no {missing[0]!r}; a rate for each of {", ".join(names)} was wanted')
