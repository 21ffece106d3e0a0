"""Loads folders in transformers and compares logits and tokens with a golden's: convert_test runs it where it can.

    python tests/models/hf_load.py <exported folder> <golden folder> [<exported> <golden> ...]

Prints a JSON line a folder. Needs torch and transformers, and none of mathrl.
"""
import json
import pathlib
import sys

import numpy as np
import torch
import transformers


@torch.no_grad()
def compare(folder: pathlib.Path, golden: pathlib.Path) -> dict:
    model, info = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    # Not AutoTokenizer: it takes a Qwen2 model's tokenizer.json for one that splits bytes, which the golden's does not.
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    saved, outputs = np.load(golden / 'logits.npz'), json.loads((golden / 'outputs.json').read_text())
    mask = saved['left_mask']
    positions = np.maximum(mask.cumsum(1) - 1, 0)
    logits = model.eval()(input_ids=torch.tensor(saved['left_ids']), attention_mask=torch.tensor(mask),
                          position_ids=torch.tensor(positions)).logits.float().numpy()
    chat = [tokenizer.apply_chat_template([{'role': 'user', 'content': prompt}], add_generation_prompt=True, return_dict=False)
            for prompt in outputs['prompts']]
    return {'model': type(model).__name__, 'dtype': str(model.dtype), 'faults': sum(len(info[kind]) for kind in info),
            'difference': float(np.abs(logits - saved['left_logits'])[mask == 1].max()),
            'plain': [tokenizer(one).input_ids for one in outputs['prompts']] == [one['prompt'] for one in outputs['plain']],
            'chat': chat == [one['prompt'] for one in outputs['chat']],
            'ends': model.generation_config.eos_token_id}


for exported, wanted in zip(sys.argv[1::2], sys.argv[2::2]):
    print(json.dumps(compare(pathlib.Path(exported), pathlib.Path(wanted))))
