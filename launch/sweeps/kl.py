"""KL coefficient x learning rate of the quickstart's GRPO stage, on what its earlier stages made.

First bash launch/quickstart.sh, then python -m launch.sweep launch/sweeps/kl.py. A trial takes a third of
that stage's time; the sweep ends in a page that compares them, and the report reads their folders too.
"""

QUICKSTART = 'runs/quickstart'

GIN_FILES = ['gin/quickstart/rl.gin']
MACROS = {
    'PROBLEMS': f'{QUICKSTART}/problems/train.jsonl',
    'HELDOUT': f'{QUICKSTART}/problems/heldout.jsonl',
    'MODEL': f'{QUICKSTART}/sft',
    'STEPS': 21,                            # the last step measures, as every fifth does
}
OBJECTIVE = 'metrics.jsonl:accuracy'        # of sampled answers to held-out questions
DIRECTION = 'maximize'


def trials():
    for kl_coef in (0.0, 0.04):
        for learning_rate in (3e-5, 1e-4):
            yield {'KL_COEF': kl_coef, 'LEARNING_RATE': learning_rate}
