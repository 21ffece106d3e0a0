"""What an evaluation asks: benchmarks with their protocols, problems and prompts."""
import dataclasses
import hashlib
import json
import zlib
from typing import Any, Mapping, Sequence

import jax
from etils import epath

from mathrl.problems import benchmarks
from mathrl.problems.exemplars import read_exemplars
from mathrl.problems.prompts import TOOL_TEMPLATES, Prompt, Templates, encode
from mathrl.problems.protocols import Protocol, protocol
from mathrl.problems.types import Problem, read_problems

PLAIN = 'problems'     # the label of a file of problems that is no named benchmark


@dataclasses.dataclass(frozen=True)
class Source:
    """A benchmark to ask: label names it in results, title in tables; path: JSONL, or tfds:NAME:SPLIT."""
    label: str
    benchmark: str
    title: str
    path: str
    protocol: Protocol

    @property
    def folder(self) -> str:
        """Where its answers are kept, whatever is asked beside it."""
        return f'{self.benchmark}.{self.protocol.name}'

    def read(self) -> list[Problem]:
        return read_problems(self.path) if self.benchmark == PLAIN else benchmarks.read_benchmark(self.benchmark, self.path)


@dataclasses.dataclass(frozen=True)
class Task:
    """A source's problems (the first `limit`), each with its prompt."""
    source: Source
    problems: list[Problem]
    prompts: list[Prompt]

    def key(self, seed: int) -> jax.Array:
        """The random key of the benchmark, from its name: other benchmarks beside it change nothing."""
        key, name = jax.random.key(seed), self.source.benchmark
        return key if name == PLAIN else jax.random.fold_in(key, zlib.crc32(name.encode()))

    def settings(self) -> dict[str, Any]:
        """What the answers depend on, besides the model and how it is sampled."""
        asked = [(prompt.ids, problem.answer) for prompt, problem in zip(self.prompts, self.problems)]
        digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
        protocol = self.source.protocol
        return {'benchmark': self.source.benchmark, 'protocol': protocol.name, 'stop': protocol.stop,
                'extraction': protocol.extraction, 'problems': len(self.problems), 'prompts_and_answers': digest}

    def shots(self) -> dict[str, int]:
        """What a table cannot show of the prompts."""
        short = sum(prompt.shots < self.source.protocol.shots for prompt in self.prompts)
        return {'shots': self.source.protocol.shots, 'prompts_with_fewer': short}


def sources(problems: str, listed: Sequence[tuple[str, ...]], folder: str, protocol_name: str,
            exemplars: Mapping[str, str], templates: Templates = Templates(),
            tool_templates: Templates = TOOL_TEMPLATES) -> list[Source]:
    """From the file `problems`, or from `listed`: (benchmark, path), or (benchmark, path, protocol's name).

    Relative paths are in `folder`. exemplars: label -> file. A plain file's answers must be boxed, as a reward reads
    them; a benchmark's may stand in a sentence. ValueError where names do not exist or come twice.
    """
    if bool(problems) == bool(listed):
        raise ValueError('PROBLEMS, a file of problems, or BENCHMARKS, a list of (benchmark, path), must be set: '
                         f'{"both are" if problems else "none is"}')
    entries = [(PLAIN, problems)] if problems else [_entry(entry) for entry in listed]
    found = []
    for name, path, *own in entries:
        title = PLAIN if name == PLAIN else benchmarks.find(name).title
        asked_by = own[0] if own else protocol_name
        label = f'{name}.{asked_by}' if [entry[0] for entry in entries].count(name) > 1 else name
        if label in (source.label for source in found):
            raise ValueError(f'{label} is listed twice; a benchmark may come once under each protocol')
        given = read_exemplars(exemplars[label]) if label in exemplars else None
        how = protocol(asked_by, name, exemplars=given, templates=templates, tool_templates=tool_templates,
                       extraction='boxed' if name == PLAIN else 'answer')
        found.append(Source(label, name, title, _path(folder, path), how))
    shown = [source.label for source in found if source.protocol.shots]
    for label in exemplars:
        if label not in shown:
            raise ValueError(f'EXEMPLARS names {label!r}, which is not asked with exemplars; '
                             f'{"these are: " + ", ".join(shown) if shown else "nothing is"}')
    return found


def _entry(entry: tuple[str, ...]) -> tuple[str, ...]:
    if not isinstance(entry, (tuple, list)) or len(entry) not in (2, 3) or not all(isinstance(part, str) for part in entry):
        raise ValueError(f'BENCHMARKS holds {entry!r:.80}; (benchmark, path) or (benchmark, path, protocol) was wanted')
    return tuple(entry)


def _path(folder: str, path: str) -> str:
    return path if not folder or path.startswith(benchmarks.TFDS) else str(epath.Path(folder) / path)


def open_task(source: Source, tokenizer: Any, longest: int, limit: int = 0) -> Task:
    """Reads the problems and encodes their prompts, of at most `longest` tokens."""
    problems = source.read()[:limit or None]
    prompts = encode(problems, source.protocol.prompt, tokenizer, source.protocol.shots, longest)
    return Task(source, problems, prompts)
