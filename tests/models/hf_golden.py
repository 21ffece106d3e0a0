"""Writes tests/models/golden: a tiny random checkpoint of each family, with what transformers computes from it.

    python tests/models/hf_golden.py [folder]

Needs torch and transformers (golden/versions.json names those that wrote what lies there), and none of mathrl.
"""
import json
import pathlib
import sys

import numpy as np
import tokenizers
import torch
import transformers

TEXTS = ['two and two is four', 'what is one plus three', 'the sum of two numbers', 'three times four is twelve', 'x = 1 + 2']
PROMPTS = ['two and two is', 'x', 'what is the sum of three times four', ' one  plus']
TEMPLATE = """\
{{ bos_token }}{% for message in messages %}
{%- if message.role not in ('system', 'user', 'assistant') %}{{ raise_exception('unknown role ' + message.role) }}{% endif %}
{{- '<|turn|>' + message.role[0] + ' ' + message.content | trim + eos_token }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|turn|>a ' }}{% endif %}"""
SMALL = dict(vocab_size=64, hidden_size=16, num_hidden_layers=2, intermediate_size=24, num_attention_heads=4,
             max_position_embeddings=128, attention_dropout=0.0, bos_token_id=0, eos_token_id=[1, 3])
SCALED = {'rope_type': 'llama3', 'factor': 8.0, 'low_freq_factor': 1.0, 'high_freq_factor': 4.0,
          'original_max_position_embeddings': 100}
FAMILIES = {
    'deepseek': ('Llama', dict(num_key_value_heads=4, rms_norm_eps=1e-6)),
    'deepseek_coder': ('Llama', dict(num_key_value_heads=4, rope_theta=1e5, rope_scaling={'rope_type': 'linear', 'factor': 4.0})),
    'llama2': ('Llama', dict(num_key_value_heads=4, rms_norm_eps=1e-5)),
    'llama3': ('Llama', dict(num_key_value_heads=2, head_dim=16, rms_norm_eps=1e-5, rope_theta=5e5, rope_scaling=SCALED)),
    'qwen2': ('Qwen2', dict(num_key_value_heads=2, rope_theta=1e6)),
    'qwen2_tied': ('Qwen2', dict(num_key_value_heads=1, rope_theta=1e6, tie_word_embeddings=True)),
    'qwen3': ('Qwen3', dict(num_key_value_heads=2, head_dim=8, rope_theta=1e6)),
    'qwen3_tied': ('Qwen3', dict(num_key_value_heads=2, head_dim=8, rope_theta=1e6, tie_word_embeddings=True)),
}
SHARDED = 'qwen2'      # written as several files with an index
NEW_TOKENS = 12


def write_tokenizer(folder: pathlib.Path):
    specials = ['<|begin|>', '<|end|>', '<|pad|>', '<|stop|>', '<|turn|>']
    made = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token=None))
    made.normalizer = tokenizers.normalizers.Replace(' ', '_')
    made.decoder = tokenizers.decoders.Sequence([tokenizers.decoders.Replace('_', ' '), tokenizers.decoders.Fuse()])
    made.train_from_iterator(TEXTS, tokenizers.trainers.BpeTrainer(vocab_size=60, special_tokens=specials, show_progress=False))
    made.post_processor = tokenizers.processors.TemplateProcessing(single='<|begin|> $A', special_tokens=[('<|begin|>', 0)])
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=made, bos_token='<|begin|>', eos_token='<|end|>',
                                                     pad_token='<|pad|>', clean_up_tokenization_spaces=False)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return tokenizer


def random_model(family: str, seed: int):
    kind, changes = FAMILIES[family]
    config = getattr(transformers, f'{kind}Config')(**SMALL | changes)
    model = getattr(transformers, f'{kind}ForCausalLM')._from_config(config, attn_implementation='eager').eval()
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=rng) * 0.3
            weight.copy_(noise + 1 if 'norm' in name else noise)
    return model


@torch.no_grad()
def padded_logits(model, seed: int) -> dict[str, np.ndarray]:
    """Of rows of different lengths, as they stand and padded to one length on the left and on the right."""
    rng, lengths, width = np.random.default_rng(seed), (24, 1, 11), 24
    tokens = [rng.integers(0, SMALL['vocab_size'], length) for length in lengths]
    found = {}
    for side in ('left', 'right'):
        ids, mask = np.zeros((len(lengths), width), np.int64), np.zeros((len(lengths), width), np.int64)
        for row, own in enumerate(tokens):
            place = slice(width - len(own), width) if side == 'left' else slice(0, len(own))
            ids[row, place], mask[row, place] = own, 1
        positions = np.maximum(mask.cumsum(1) - 1, 0)
        out = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask), position_ids=torch.tensor(positions))
        logits = out.logits.numpy() * mask[..., None].astype(np.float32)
        found |= {f'{side}_ids': ids, f'{side}_mask': mask, f'{side}_logits': logits}
    return found


@torch.no_grad()
def greedy(model, tokenizer, ids: list[int]) -> dict:
    """ids written behind a prompt, their text, and by how much the likeliest token led at worst."""
    out = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=False,
                         max_new_tokens=NEW_TOKENS, output_logits=True, return_dict_in_generate=True, pad_token_id=2)
    written = out.sequences[0, len(ids):].tolist()
    best = [step[0].topk(2).values for step in out.logits]
    return {'prompt': ids, 'ids': written, 'text': tokenizer.decode(written, skip_special_tokens=True),
            'lead': min(float(first - second) for first, second in best)}


def main() -> None:
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / 'golden')
    tokenizer = write_tokenizer(root / 'tokenizer')
    for seed, family in enumerate(FAMILIES):
        folder, model = root / family, random_model(family, seed)
        model.generation_config = transformers.GenerationConfig(bos_token_id=0, eos_token_id=[1, 3], pad_token_id=2)
        model.save_pretrained(folder, max_shard_size='12KB' if family == SHARDED else '1GB')
        np.savez_compressed(folder / 'logits.npz', **padded_logits(model, seed))
        plain = [tokenizer(prompt).input_ids for prompt in PROMPTS]
        chat = [tokenizer.apply_chat_template([{'role': 'user', 'content': prompt}], add_generation_prompt=True,
                                              return_dict=False) for prompt in PROMPTS]
        outputs = {'prompts': PROMPTS, 'plain': [greedy(model, tokenizer, ids) for ids in plain],
                   'chat': [greedy(model, tokenizer, ids) for ids in chat]}
        (folder / 'outputs.json').write_text(json.dumps(outputs, indent=1) + '\n')
        print(family, 'smallest lead', min(one['lead'] for kind in ('plain', 'chat') for one in outputs[kind]),
              'lengths', [len(one['ids']) for kind in ('plain', 'chat') for one in outputs[kind]])
    versions = {one.__name__: one.__version__ for one in (torch, transformers, tokenizers, np)} | {'python': sys.version.split()[0]}
    (root / 'versions.json').write_text(json.dumps(versions, indent=1) + '\n')


if __name__ == '__main__':
    main()
