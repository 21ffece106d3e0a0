"""Scores of evaluations benchmark by benchmark, beside those that DeepSeekMath reports (arXiv 2402.03300)."""
from collections.abc import Sequence

from mathrl.report.markup import escape
from mathrl.report.sources import Evaluation

TITLES = {'gsm8k': 'GSM8K', 'math': 'MATH', 'cmath': 'CMATH', 'mgsm_zh': 'MGSM-zh', 'ocw': 'OCW', 'sat': 'SAT',
          'mmlu_stem': 'MMLU-STEM', 'gaokao_mathcloze': 'Gaokao-MathCloze', 'gaokao_mathqa': 'Gaokao-MathQA'}
# protocol -> model -> benchmark -> % correct; greedy, one answer a problem.
PAPER = {
    'few_shot_cot': {'Base 7B': {'gsm8k': 64.2, 'math': 36.2, 'cmath': 71.7, 'ocw': 15.4, 'sat': 84.4, 'mmlu_stem': 56.5,
                                 'gaokao_mathcloze': 20.3, 'gaokao_mathqa': 35.3}},
    'few_shot_pot': {'Base 7B': {'gsm8k': 66.9, 'math': 31.4}},
    'zero_shot_cot': {'Instruct 7B': {'gsm8k': 82.9, 'math': 46.8, 'cmath': 84.6, 'mgsm_zh': 73.2},
                      'RL 7B': {'gsm8k': 88.2, 'math': 51.7, 'cmath': 88.8, 'mgsm_zh': 79.6}},
    'zero_shot_tir': {'Instruct 7B': {'gsm8k': 83.7, 'math': 57.4, 'cmath': 84.3, 'mgsm_zh': 72.0},
                      'RL 7B': {'gsm8k': 86.7, 'math': 58.8, 'cmath': 87.6, 'mgsm_zh': 78.4}},
}


def table(evaluations: Sequence[Evaluation]) -> str:
    """A section with a line for each evaluation, and below them the paper's under the same protocol; '' without benchmarks."""
    found = {}      # protocol -> evaluation -> benchmark -> text
    for evaluation in evaluations:
        protocols = evaluation.scores.get('protocols', {})
        for label, scores in evaluation.scores.get('by_benchmark', {}).items():
            protocol = protocols.get(label, {}).get('protocol', '')
            name = label.removesuffix(f'.{protocol}') if protocol else label
            by_name = found.setdefault(protocol, {}).setdefault(evaluation.name, {})
            by_name[name] = _score(scores)
    benchmarks = list(dict.fromkeys(name for lines in found.values() for line in lines.values() for name in line))
    if not benchmarks or not set(benchmarks) & set(TITLES):
        return ''
    rows = []
    for protocol, lines in found.items():
        rows += [_row(protocol, name, benchmarks, line, '' if place else 'first')
                 for place, (name, line) in enumerate(lines.items())]
        asked = {name for line in lines.values() for name in line}
        for model, scores in PAPER.get(protocol, {}).items():
            if asked & set(scores):
                printed = {name: f'{value:.1f}%' for name, value in scores.items()}
                rows.append(_row(protocol, f'DeepSeekMath-{model}', benchmarks, printed, 'part'))
    heads = ''.join(f'<th class="number">{escape(TITLES.get(name, name))}</th>' for name in benchmarks)
    return ('<section><h2>Benchmarks beside the paper</h2><p class="note">The greedy answer’s accuracy, or where none was '
            'given the mean over samples (marked ~), under the same protocol. The paper’s prompts and graders were others. '
            'In small: the number of problems.</p><div class="scroll"><table><thead><tr><th>model</th><th>protocol</th>'
            f'{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div></section>')


def _score(scores: dict) -> str:
    greedy = 'greedy' in scores
    value = scores['greedy'] if greedy else scores.get('accuracy')
    return '–' if value is None else f'{"" if greedy else "~"}{100 * value:.1f}%<small>{scores["questions"]:,}</small>'


def _row(protocol: str, name: str, benchmarks: Sequence[str], line: dict[str, str], kind: str) -> str:
    cells = ''.join(f'<td class="number">{line.get(benchmark, "–")}</td>' for benchmark in benchmarks)
    return f'<tr class="{kind}"><th>{escape(name)}</th><td>{escape(protocol)}</td>{cells}</tr>'
