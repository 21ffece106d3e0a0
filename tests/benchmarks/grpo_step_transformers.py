"""A GRPO step as one writes it with transformers and PyTorch, on the shapes of grpo_step.py; prints one JSON line last.

  PYTHON tests/benchmarks/grpo_step_transformers.py [--steps 4] [--micro_batches 8] [--checkpointing]

For a Python with torch and transformers; on a GPU where there is one. `generate` writes all groups to their full length from
random weights (no end token), the reference's log-probs are computed without gradient, and AdamW moves the policy along GRPO's
objective; no rewards are graded. The 1.3 B shapes for one GPU, for this program and grpo_step.py alike:

  --vocab=102400 --d=2048 --layers=24 --heads=16 --ffn=5504 --prompt=512 --completion=1024 --prompts=32 --group=16
  --dtype=bfloat16 --micro_batches=32
"""
import argparse
import json
import statistics
import time

import torch
import transformers


def flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in dict(steps=4, vocab=512, d=256, layers=4, heads=4, ffn=1024, prompt=32, completion=64, prompts=8,
                              group=8, micro_batches=1).items():
        parser.add_argument(f'--{name}', type=int, default=default)
    parser.add_argument('--beta', type=float, default=0.04)
    parser.add_argument('--dtype', default='float32')
    parser.add_argument('--checkpointing', action='store_true', help='compute activations again in the backward pass')
    return parser.parse_args()


def token_logps(model, rows_BT, completion: int) -> torch.Tensor:
    """Log-probs [B, completion] of the last tokens of each row, in float32."""
    logits_BTV = model(rows_BT[:, :-1], use_cache=False, logits_to_keep=completion).logits.float()
    return torch.gather(logits_BTV.log_softmax(-1), 2, rows_BT[:, -completion:, None])[:, :, 0]


def main() -> None:
    asked = flags()
    device, dtype = 'cuda' if torch.cuda.is_available() else 'cpu', getattr(torch, asked.dtype)
    config = transformers.LlamaConfig(vocab_size=asked.vocab, hidden_size=asked.d, num_hidden_layers=asked.layers,
                                      num_attention_heads=asked.heads, intermediate_size=asked.ffn, eos_token_id=None,
                                      bos_token_id=None, pad_token_id=0, max_position_embeddings=asked.prompt + asked.completion)
    torch.manual_seed(0)
    policy, reference = (transformers.LlamaForCausalLM(config).to(device, dtype) for _ in range(2))
    reference.load_state_dict(policy.state_dict())
    if asked.checkpointing:
        policy.gradient_checkpointing_enable()
    optimizer, times = torch.optim.AdamW(policy.parameters(), lr=1e-6), {'rollout_s': [], 'update_s': [], 'step_s': []}
    wait = torch.cuda.synchronize if device == 'cuda' else lambda: None
    for _ in range(asked.steps):
        prompts_QS = torch.randint(1, asked.vocab, (asked.prompts, asked.prompt), device=device)
        wait()
        begun = time.perf_counter()
        rows_BT = policy.generate(prompts_QS, attention_mask=torch.ones_like(prompts_QS), do_sample=True, temperature=1.0,
                                  top_k=0, top_p=1.0, num_return_sequences=asked.group, max_new_tokens=asked.completion,
                                  min_new_tokens=asked.completion)
        wait()
        sampled = time.perf_counter()
        rewards_QG = (rows_BT[:, asked.prompt:] % 2).float().mean(-1).reshape(asked.prompts, asked.group)
        centred_QG = rewards_QG - rewards_QG.mean(1, keepdim=True)
        advantages_B = (centred_QG / (rewards_QG.std(1, keepdim=True) + 1e-6)).reshape(-1)
        for some_BT, some_B in zip(rows_BT.chunk(asked.micro_batches), advantages_B.chunk(asked.micro_batches)):
            with torch.no_grad():
                reference_BT = token_logps(reference, some_BT, asked.completion)
            logps_BT = token_logps(policy, some_BT, asked.completion)
            ratio_BT, gap_BT = torch.exp(logps_BT - logps_BT.detach()), reference_BT - logps_BT
            kl_BT = torch.exp(gap_BT) - gap_BT - 1
            (-(ratio_BT * some_B[:, None] - asked.beta * kl_BT).mean() / asked.micro_batches).backward()
        optimizer.step()
        optimizer.zero_grad()
        wait()
        ended = time.perf_counter()
        for name, seconds in dict(rollout_s=sampled - begun, update_s=ended - sampled, step_s=ended - begun).items():
            times[name].append(seconds)
    found = {name: statistics.median(values[1:] or values) for name, values in times.items()}
    written = asked.prompts * asked.group * asked.completion
    peak = torch.cuda.max_memory_allocated() / 2 ** 30 if device == 'cuda' else None
    print(json.dumps({'system': 'transformers', 'transformers': transformers.__version__, 'torch': torch.__version__,
                      'device': torch.cuda.get_device_name() if device == 'cuda' else 'cpu',
                      'n_params': sum(x.numel() for x in policy.parameters()), **found,
                      'rollout_tokens_per_s': written / found['rollout_s'], 'peak_gib': peak, 'all_step_s': times['step_s']}))


if __name__ == '__main__':
    main()
