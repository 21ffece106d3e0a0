"""What an update costs, and what no algorithm is."""
import pytest

from mathrl.models.llama import LlamaConfig
from mathrl.programs.learners import Settings, learner, update_flops
from mathrl.rl import coefficients
from mathrl.rl.types import ActorCritic, Algorithm, Preferences
from mathrl.train import flops

SIZES = LlamaConfig(vocab=280, width=32, layers=2, heads=4, kv_heads=2, head_dim=8, mlp_width=32)
GRPO = Algorithm('policy', None, coefficients.grpo())
PPO = ActorCritic('policy', None, coefficients.grpo(kl_coef=0.0), critic_optimizer=None)


def test_an_update_is_the_forward_and_backward_passes_of_all_its_models():
    shape = 2, 4, 16, 8      # questions, outputs, prompt, length
    forward, logits = flops.outputs_forward(SIZES, *shape), 2 * 4 * 8 * flops.unembedding(SIZES)
    assert update_flops(GRPO, SIZES, True, *shape) == flops.policy_step(SIZES, *shape) == 4 * forward
    assert update_flops(GRPO, SIZES, False, *shape) == 3 * forward
    assert update_flops(PPO, SIZES, True, *shape) == 4 * forward + 4 * (forward - logits)
    odd = 2, 5, 16, 8
    assert update_flops(Preferences('policy', None), SIZES, True, *odd) == 4 * forward


def test_an_unknown_algorithm_is_one_sentence():
    with pytest.raises(ValueError, match="unknown algorithm 'grpo'; there are: Algorithm, ActorCritic, Preferences"):
        learner('grpo', Settings(None, None, 1, 1.0), seed=0)
