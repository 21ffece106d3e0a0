"""The table: benchmarks across, a line for each protocol and score, a dash where nothing was measured."""
from mathrl.evaluation.score_table import score_table

SCORES = {'by_benchmark': {
    'gsm8k.few_shot_cot': {'questions': 1319, 'greedy': 0.642, 'intervals': {}},
    'gsm8k.few_shot_pot': {'questions': 1319, 'greedy': 0.669},
    'math': {'questions': 5000, 'greedy': 0.362, 'accuracy': 0.3, 'maj@64': 0.609, 'pass@64': 1.0}}}


def test_table():
    titles = {'gsm8k.few_shot_cot': 'GSM8K', 'gsm8k.few_shot_pot': 'GSM8K', 'math': 'MATH'}
    protocols = {'gsm8k.few_shot_cot': 'few_shot_cot', 'gsm8k.few_shot_pot': 'few_shot_pot', 'math': 'few_shot_cot'}
    assert score_table(SCORES, titles, protocols).splitlines() == [
        '| protocol | score | GSM8K | MATH |',
        '| --- | --- | --- | --- |',
        '|  | problems | 1319 | 5000 |',
        '| few_shot_cot | greedy | 64.2 | 36.2 |',
        '| few_shot_cot | accuracy | - | 30.0 |',
        '| few_shot_cot | maj@64 | - | 60.9 |',
        '| few_shot_cot | pass@64 | - | 100.0 |',
        '| few_shot_pot | greedy | 66.9 | - |']
