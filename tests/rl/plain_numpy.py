"""The model and its advantages once more, as plainly as NumPy goes."""
import jax
import numpy as np


def advantages(experience):
    """The paper's, [Q, G, T] (DeepSeekMath 4.1.2, 4.1.3)."""
    advantages_QGT = np.zeros(experience.rewards_QGT.shape)
    for q, (rewards_GT, ends_GT) in enumerate(zip(experience.rewards_QGT, experience.step_ends_QGT)):
        rewards = np.asarray([reward for reward, end in zip(rewards_GT.flat, ends_GT.flat) if end], np.float64)
        for g, t in np.ndindex(*rewards_GT.shape):
            if len(set(rewards)) > 1:
                later = rewards_GT[g, t:][ends_GT[g, t:] == 1]
                advantages_QGT[q, g, t] = np.sum((later - rewards.mean()) / rewards.std())
    return advantages_QGT


def logps(model, params, ids):
    """(log p(ids[t] | ids[:t]), the entropy there) for t >= 1: one row, float64."""
    c, params = model.config, jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    norm = lambda x, scale: x / np.sqrt(np.mean(x * x, -1, keepdims=True) + c.norm_eps) * scale
    T, half = len(ids), c.head_dim // 2

    def rotate(x_TNH):
        angle_TH = np.arange(T)[:, None] * c.rope_base ** (-np.arange(half) / half)
        turned = (x_TNH[..., :half] + 1j * x_TNH[..., half:]) * np.exp(1j * angle_TH)[:, None]
        return np.concatenate([turned.real, turned.imag], -1)
    h_TD = params['embed_VD'][ids]
    for layer in range(c.layers):
        p = {name: x[layer] for name, x in params['layers'].items()}
        x_TD = norm(h_TD, p['attention_norm_D'])
        q, k, v = (np.einsum('td,dnh->tnh', x_TD, p[name]) for name in ('q_DNH', 'k_DKH', 'v_DKH'))
        q, k = rotate(q), rotate(k)
        for head in range(c.heads):
            shared = head // (c.heads // c.kv_heads)
            scores_TT = q[:, head] @ k[:, shared].T / c.head_dim ** 0.5
            weights_TT = np.exp(scores_TT - scores_TT.max()) * np.tri(T)
            mixed_TH = weights_TT / weights_TT.sum(-1, keepdims=True) @ v[:, shared]
            h_TD = h_TD + mixed_TH @ p['o_NHD'][head]
        x_TD = norm(h_TD, p['mlp_norm_D'])
        gate_TF = x_TD @ p['gate_DF']
        h_TD = h_TD + (gate_TF / (1 + np.exp(-gate_TF)) * (x_TD @ p['up_DF'])) @ p['down_FD']
    logits_TV = norm(h_TD, params['norm_D']) @ params['unembed_DV']
    logps_TV = logits_TV - np.log(np.exp(logits_TV).sum(-1, keepdims=True))
    return logps_TV[np.arange(T - 1), ids[1:]], -np.sum(np.exp(logps_TV) * logps_TV, -1)[:-1]
