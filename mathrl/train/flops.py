"""Floating-point operations, counted from a model's sizes, and what share of the device's peak they are (MFU).

A multiplication and an addition are two. Counted are the matrix products that the method needs: those of the layers, of the
unembedding and of attention; recomputation (remat, chunks of the vocabulary) is not, and the backward pass is twice the
forward one (PaLM, appendix B, Chowdhery et al. 2022; attention here at its causal half).
"""
import jax

# Dense bfloat16 peak of one jax device, FLOP/s, by the start of its device_kind; the first that fits counts.
# TPU: cloud.google.com/tpu/docs, system architecture, a page a generation (v4 275, v5e 197, v5p 459, v6e 918, TPU7x 2307
# TFLOP/s a chip, of two devices). NVIDIA: the data sheets' figures without sparsity (A100 312, H100 SXM and H200 989, H100
# PCIe 756).
PEAKS = (
    ('TPU v4', 275e12),
    ('TPU v5 lite', 197e12),
    ('TPU v5e', 197e12),
    ('TPU v5p', 459e12),
    ('TPU v5', 459e12),
    ('TPU v6', 918e12),
    ('TPU7x', 1153.5e12),
    ('NVIDIA H200', 989e12),
    ('NVIDIA H100 PCIe', 756e12),
    ('NVIDIA H100', 989e12),
    ('NVIDIA A100', 312e12),
)


def peak(device_kind: str) -> float | None:
    """FLOP/s of one device in bfloat16: 'TPU v5 lite' -> 1.97e14; None where it is not known ('cpu')."""
    return next((flops for kind, flops in PEAKS if device_kind.startswith(kind)), None)


def mfu(flops: float, seconds: float, devices=None) -> dict[str, float]:
    """{'mfu': share of the peak of all devices}, for the logs; {} where the peak is not known or nothing was counted."""
    devices = devices if devices is not None else jax.devices()
    highest = peak(devices[0].device_kind)
    return {'mfu': flops / (seconds * highest * len(devices))} if highest and flops else {}


def layer_products(sizes) -> int:
    """Forward FLOPs of the layers' products with weights, for one token."""
    heads = 2 * sizes.heads + 2 * sizes.kv_heads      # q, o; k, v
    return 2 * sizes.layers * sizes.width * (heads * sizes.head_dim + 3 * sizes.mlp_width)


def unembedding(sizes) -> int:
    """Forward FLOPs of the logits of one token."""
    return 2 * sizes.width * sizes.vocab


def attention(sizes, pairs: float) -> float:
    """Forward FLOPs of scores and mixing over `pairs` pairs of a query and a key, all layers."""
    return 4 * sizes.layers * sizes.heads * sizes.head_dim * pairs


def causal(length: int) -> float:
    """Pairs of a query and a key in a row where each sees itself and what stands before."""
    return length * (length + 1) / 2


def rows_forward(sizes, rows: int, length: int) -> float:
    """Forward pass over packed rows, as though each were one example, with logits everywhere."""
    per_token = layer_products(sizes) + unembedding(sizes)
    return rows * (length * per_token + attention(sizes, causal(length)))


def train_step(sizes, rows: int, length: int) -> float:
    """One update on packed rows: forward, and twice that backward."""
    return 3 * rows_forward(sizes, rows, length)


def outputs_forward(sizes, questions: int, outputs: int, prompt: int, length: int) -> float:
    """Forward pass over `outputs` outputs of each question; each prompt counts once, and its logits not at all."""
    answers = questions * outputs
    tokens = questions * prompt + answers * length
    pairs = questions * causal(prompt) + answers * (length * prompt + causal(length))
    return tokens * layer_products(sizes) + answers * length * unembedding(sizes) + attention(sizes, pairs)


def policy_step(sizes, questions: int, outputs: int, prompt: int, length: int) -> float:
    """One update of GRPO: the policy forward and backward, the reference forward."""
    return 4 * outputs_forward(sizes, questions, outputs, prompt, length)
