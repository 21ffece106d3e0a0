"""The table of an evaluation, as the paper prints them: benchmarks across, a line for each protocol and score."""
from typing import Any, Mapping, Sequence

ABSENT = '-'


def score_table(scores: Mapping[str, Any], titles: Mapping[str, str], protocols: Mapping[str, str]) -> str:
    """A Markdown table of scores.json's by_benchmark; titles and protocols: label -> what it is called, how it is asked.

    ({'by_benchmark': {'gsm8k': {'questions': 2, 'greedy': 0.5}}}, {'gsm8k': 'GSM8K'}, {'gsm8k': 'zero_shot_cot'}) ->
    | protocol | score | GSM8K |
    | --- | --- | --- |
    |  | problems | 2 |
    | zero_shot_cot | greedy | 50.0 |
    """
    found = scores['by_benchmark']
    columns = list(dict.fromkeys(titles.values()))
    rows = []
    for protocol in dict.fromkeys(protocols.values()):
        asked = {titles[label]: found[label] for label in titles if protocols[label] == protocol}
        rows += [[protocol, name, *(_percent(asked.get(title, {}).get(name)) for title in columns)] for name in _names(asked)]
    problems = {titles[label]: str(found[label]['questions']) for label in titles}
    head = [['protocol', 'score', *columns], ['---'] * (len(columns) + 2), ['', 'problems', *map(problems.get, columns)]]
    return ''.join(f"| {' | '.join(line)} |\n" for line in head + rows)


def _names(asked: Mapping[str, Mapping[str, Any]]) -> Sequence[str]:
    """greedy, accuracy, maj@k, pass@k: those that were measured."""
    names = dict.fromkeys(name for found in asked.values() for name in found)
    shown = [name for name in names if name in ('greedy', 'accuracy') or name.startswith(('maj@', 'pass@'))]
    return sorted(shown, key=lambda name: name != 'greedy')


def _percent(value: float | None) -> str:
    return ABSENT if value is None else f'{100 * value:.1f}'
