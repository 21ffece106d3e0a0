"""What a model writes behind prompts: JSONL of `prompt` in, `prompt` and `outputs` out."""
import collections
import itertools
import logging
from typing import Callable

import jax
from etils import epath

from mathrl.evaluation.generation import Sampler, bucket
from mathrl.metrics import Progress
from mathrl.models.llama import Llama
from mathrl.programs import trained_model
from mathrl.records import numbered_rows, write_jsonl
from mathrl.sampling.filters import Sampling


def run(*, workdir: epath.Path, model: str, prompts: str, mesh, output: str = '', template: bool = True, samples: int = 1,
        sampling: Sampling = Sampling(), max_tokens: int = 1024, batch: int = 64, seed: int = 0, config: str = '',
        dry_run: bool = False) -> None:
    """Writes `output` ('': outputs.jsonl in workdir): each prompt with its `samples` outputs, as text.

    model: a trained model's folder, or Hugging Face's. template: the prompt is what a user says, in the tokenizer's chat
    template; else it is encoded as the tokenizer's file does. Outputs depend on the seed and the prompt's place alone.
    """
    model_config, tokenizer, open_params = trained_model.open_readable(model)
    llama, target = Llama(model_config), epath.Path(output or epath.Path(workdir) / 'outputs.jsonl')
    if samples < 1 or max_tokens < 1 or batch < 1:
        raise ValueError(f'samples={samples}, max_tokens={max_tokens}, batch={batch}: each must be 1 or more')
    if dry_run:
        print(trained_model.parameter_table(llama, mesh))
        print(f'generate: {samples} outputs by {model} behind each prompt of {prompts}, to {target}')
        return
    texts, encoded = _prompts(prompts, tokenizer.encode_chat if template else tokenizer.encode_prompt, model_config.vocab)
    longest = max(map(len, encoded)) + max_tokens
    if longest > model_config.context:
        logging.warning('prompts and outputs of %d tokens: the model was made for %d', longest, model_config.context)

    first, outputs, done = jax.process_index() == 0, [[] for _ in texts], itertools.count(1)
    with jax.set_mesh(mesh), Progress('generate', len(texts), 'prompt', enabled=first) as progress:
        sampler = Sampler(llama, open_params(llama, mesh), tokenizer, mesh, max_tokens, batch)
        for width, places in _by_width(encoded).items():
            found = sampler.sample([encoded[place] for place in places], places, jax.random.key(seed), outputs=samples,
                                   sampling=sampling, width=width, finished=lambda _: progress.update(next(done)))
            for place, group in zip(places, found):
                outputs[place] = [one.text for one in group]
    if first:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_jsonl(target, ({'prompt': text, 'outputs': group} for text, group in zip(texts, outputs)))
        print(f'generate: {len(texts)} prompts x {samples} outputs in {target}')


def _prompts(path: str, encode: Callable[[str], list[int]], vocab: int) -> tuple[list[str], list[list[int]]]:
    """Prompts and their tokens; ValueError names the line of one that has none, or tokens that the model has not."""
    texts, encoded = [], []
    for number, row in numbered_rows(path, ('prompt',)):
        if not isinstance(row['prompt'], str):
            raise ValueError(f"{path} line {number}: field 'prompt' is {row['prompt']!r:.80}; a text was wanted")
        texts.append(row['prompt'])
        encoded.append(encode(row['prompt']))
        if not encoded[-1]:
            raise ValueError(f'{path} line {number}: the prompt {row["prompt"]!r:.80} has no tokens to write behind')
        if max(encoded[-1]) >= vocab:
            raise ValueError(f'{path} line {number}: token {max(encoded[-1])} of the prompt is past the vocab={vocab} of the '
                             'model')
    return texts, encoded


def _by_width(encoded: list[list[int]]) -> dict[int, list[int]]:
    """Places of prompts by their padded length: few lengths, so that few programs are compiled."""
    places = collections.defaultdict(list)
    for place, ids in enumerate(encoded):
        places[bucket(len(ids))].append(place)
    return dict(sorted(places.items()))
