"""The same stage searched by Optuna: twelve trials, the hopeless ones given up early."""

import optuna

from launch.sweeps import kl

GIN_FILES, MACROS, OBJECTIVE, DIRECTION = kl.GIN_FILES, kl.MACROS, kl.OBJECTIVE, kl.DIRECTION
TRIALS = 12
SAMPLER = optuna.samplers.TPESampler(seed=0, n_startup_trials=5)
PRUNER = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=10)
REPORT = 'accuracy'                         # the metric of metrics.jsonl that the pruner looks at


def suggest(trial):
    return {
        'KL_COEF': trial.suggest_float('KL_COEF', 1e-3, 0.3, log=True),
        'LEARNING_RATE': trial.suggest_float('LEARNING_RATE', 1e-5, 1e-3, log=True),
        'GROUP_SIZE': trial.suggest_categorical('GROUP_SIZE', [8, 16, 32]),
    }
