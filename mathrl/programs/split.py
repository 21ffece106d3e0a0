"""Cuts a problems JSONL into <workdir>/train.jsonl and heldout.jsonl, by a hash of the problem's text."""
import dataclasses
import hashlib

from mathrl import records
from mathrl.problems.types import Problem, read_problems


def run(*, workdir, problems: str, heldout_share: float = 0.1, heldout_limit: int = 0, config: str = '',
        dry_run: bool = False) -> None:
    """heldout_limit: no more than this many held-out problems are kept (0: all); those beyond it go nowhere.

    A text lies on the same side whatever the file and the order, so a problem that stands twice is not split.
    """
    del config
    if not 0 < heldout_share < 1 or heldout_limit < 0:
        raise ValueError(f'heldout_share={heldout_share} and heldout_limit={heldout_limit}; a share between '
                         '0 and 1 and a limit of 0 or more were wanted')
    if dry_run:
        print(f'split: {heldout_share:.0%} of {problems} held out, to {workdir}')
        return
    sides = {'train': [], 'heldout': []}
    for problem in read_problems(problems):
        sides[side(problem, heldout_share)].append(problem)
    for name, chosen in sides.items():
        if not chosen:
            raise ValueError(f'{problems}: no problem falls into {name} with heldout_share={heldout_share}')
    sides['heldout'] = sides['heldout'][:heldout_limit or None]
    for name, chosen in sides.items():
        records.write_jsonl(workdir / f'{name}.jsonl', map(dataclasses.asdict, chosen))
    print(f'split: {len(sides["train"])} problems to train on, {len(sides["heldout"])} held out, '
          f'in {workdir}')


def side(problem: Problem, heldout_share: float) -> str:
    """'heldout' or 'train', by the problem's text alone (its spaces do not count)."""
    digest = hashlib.sha256(''.join(problem.problem.split()).encode()).digest()
    return 'heldout' if int.from_bytes(digest[:8], 'big') < heldout_share * 2 ** 64 else 'train'
