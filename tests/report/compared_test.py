"""Runs of one program side by side, benchmarks beside the paper's, and shares of the time."""
import math
import xml.etree.ElementTree as ElementTree

from mathrl.report import compared, goodput, page, paper_scores
from mathrl.report.sources import Evaluation, Run


def run(name, config='', **series):
    return Run(name, {metric: (list(range(len(values))), values) for metric, values in series.items()}, config)


def tree(text):
    return ElementTree.fromstring(text.removeprefix('<!DOCTYPE html>').encode())


def shown(element):
    return ' '.join(''.join(element.itertext()).split())


def render(*runs):
    return tree(page.render(title='t', runs=runs, evaluations=[], stages=[]))


def rows(element):
    return [[shown(cell) for cell in row] for row in element.iter('tr')]


def test_only_settings_that_differ_are_listed():
    configs = ['A = 1\nLONG = \\\n    "x"\nrl.run.seed = 3\nSAME = 2\n', 'A = 2\nLONG = \\\n    "y"\nSAME = 2\n']
    assert compared.differences(configs) == {'A': ['1', '2'], 'LONG': ['\\\n    "x"', '\\\n    "y"'], 'rl.run.seed': ['3', '']}


def test_runs_of_one_program_share_their_charts():
    found = render(run('a<b', 'PROGRAM = @rl.run\nKL_COEF = 0.04\n', reward=[.1, .5], mine=[1.0]),
                   run('b', 'PROGRAM = @rl.run\nKL_COEF = 0.0\n', reward=[.1, math.nan]))
    titles = [shown(each) for each in found.iter('h2')]
    assert 'Compared: a<b, b' in titles and 'Reinforcement learning' not in titles
    [section] = [each for each in found.iter('section') if each.get('class') == 'compared']
    assert ['KL_COEF', '0.04', '0.0'] in rows(section) and ['Reward', '0.5', '0.1'] in rows(section) and ['Steps', '2', '2'] in rows(section)
    charts = {shown(figure.find('h3')): len(list(figure.iter('polyline'))) for figure in section.iter('figure')}
    assert charts == {'Reward': 2, 'mine': 1}


def test_a_curve_has_its_runs_colour_in_every_chart():
    found = render(run('a', reward=[.1, .2]), run('b', reward=[.1, .2], mine=[1.0, 2.0]))
    figures = {shown(figure.find('h3')): figure for figure in found.iter('figure')}
    drawn = lambda name: [group.get('class') for group in figures[name].iter('g')]
    assert drawn('Reward') == ['c0', 'c1'] and drawn('mine') == ['c1']


def test_pretraining_and_fine_tuning_are_not_compared():
    found = render(run('pretrain', 'PROGRAM = @pretrain.run', loss=[2.0, 1.0]), run('sft', 'PROGRAM = @sft.run', loss=[2.0, 1.0]))
    assert not [each for each in found.iter('h2') if shown(each).startswith('Compared')]
    alike = render(run('one', 'PROGRAM = @pretrain.run', loss=[2.0, 1.0]), run('two', 'PROGRAM = @pretrain.run', loss=[2.0, 1.0]))
    assert [shown(each) for each in alike.iter('h3')] == ['Loss']


def evaluation(**by_benchmark):
    scores = {'protocols': {label: {'protocol': label.rpartition('.')[2] if '.' in label else 'zero_shot_cot'} for label in by_benchmark},
              'by_benchmark': by_benchmark}
    return Evaluation('ours', scores, [], '')


def test_benchmarks_stand_beside_the_papers_under_the_same_protocol():
    found = tree(paper_scores.table([evaluation(**{'gsm8k': {'questions': 1319, 'greedy': .5}, 'mine': {'questions': 2, 'accuracy': 1},
                                                   'math.zero_shot_tir': {'questions': 500, 'accuracy': .25}})]))
    assert rows(found) == [['model', 'protocol', 'GSM8K', 'mine', 'MATH'],
                           ['ours', 'zero_shot_cot', '50.0%1,319', '~100.0%2', '–'],
                           ['DeepSeekMath-Instruct 7B', 'zero_shot_cot', '82.9%', '–', '46.8%'],
                           ['DeepSeekMath-RL 7B', 'zero_shot_cot', '88.2%', '–', '51.7%'],
                           ['ours', 'zero_shot_tir', '–', '–', '~25.0%500'],
                           ['DeepSeekMath-Instruct 7B', 'zero_shot_tir', '83.7%', '–', '57.4%'],
                           ['DeepSeekMath-RL 7B', 'zero_shot_tir', '86.7%', '–', '58.8%']]
    assert paper_scores.table([evaluation(problems={'questions': 2, 'greedy': 1})]) == ''


def test_time_in_steps_and_no_curve_of_it():
    one = run('rl', reward=[.1, .2], **{'goodput/steps': [.2, .75], 'goodput/compile': [.8, .25]})
    assert goodput.shares(one) == {'steps': .75, 'compile': .25}
    found = render(one, run('old', 'PROGRAM = @sft.run', loss=[1.0]))
    assert ['rl', '75.0%', '25.0%', '0.0%', '0.0%', '0.0%', ''] in rows(found)
    assert not [each for each in found.iter('h3') if 'goodput' in shown(each)]
