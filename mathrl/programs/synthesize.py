"""Writes synthetic problems: text.jsonl (pre-training), sft.jsonl, train.jsonl (RL) and heldout.jsonl."""
import dataclasses
from collections.abc import Mapping, Sequence

from mathrl import records
from mathrl.problems import synthetic
from mathrl.problems.prompts import Templates


def run(*, workdir, texts: int, sft: int, train: int, heldout: int, levels: Sequence[int] = (1, 2),
        languages: Sequence[str] = ('en', 'zh'), kinds: Sequence[str] = (),
        slip: Mapping[str, float] | None = None, text_slip: Mapping[str, float] | None = None,
        spell: bool = False, largest: int = 99, heldout_share: float = 0.1, facts_share: float = 0.5,
        templates: Templates | None = None, seed: int = 0, config: str = '', dry_run: bool = False) -> None:
    """texts, sft, train, heldout: how many of each; 0 leaves a file out. The others: problems/synthetic.py.

    slip: how often the solutions of sft.jsonl hold the mistake of their kind, {'carry': 0.6}; text_slip:
    those of text.jsonl. train.jsonl and heldout.jsonl carry right solutions.
    """
    del config
    shared = dict(levels=levels, languages=languages, kinds=kinds, spell=spell, largest=largest,
                  heldout_share=heldout_share)
    if dry_run:
        print(f'synthesize: {texts} texts, {sft} solved problems, {train} problems, {heldout} held-out ones '
              f'of levels {tuple(levels)} to {workdir}')
        return
    if texts:
        lines = synthetic.texts(seed, texts, slip=text_slip, facts_share=facts_share, templates=templates,
                                **shared)
        records.write_jsonl(workdir / 'text.jsonl', ({'text': line} for line in lines))
    # Each file draws from a stream of its own: train.jsonl is not a repetition of sft.jsonl.
    for name, count, split, slips in (('sft', sft, 'train', slip), ('train', train, 'train', None),
                                      ('heldout', heldout, 'heldout', None)):
        if count:
            problems = synthetic.generate(f'{seed} {name}', count, split, slip=slips, **shared)
            records.write_jsonl(workdir / f'{name}.jsonl', map(dataclasses.asdict, problems))
    print(f'synthesize: {texts} texts, {sft} solved problems, {train} problems, {heldout} held out, '
          f'in {workdir}')
