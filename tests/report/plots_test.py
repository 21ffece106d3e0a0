"""mathrl/report/plots.py: well-formed SVG whatever the series, round ticks, honest gaps and labels."""
import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from mathrl.report import plots

NAN = math.nan


def elements(svg, kind, tag='*'):
    return [element for element in ElementTree.fromstring(svg).iter() if element.get('class') == kind]


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter('text')]


@pytest.mark.parametrize('values', [
    [1.0], [0.0], [0.0] * 50, [1.0, NAN, 2.0], [NAN, NAN, 3.0, NAN], [-1e-9, 1e9, 3.0], [1e300, -1e300], [5e-324],
    [1e-12, 1.1e-12], [1.0, 1.0 + 1e-13], list(np.random.default_rng(0).normal(size=3000)), [True, False],
])
@pytest.mark.parametrize('share', [False, True])
def test_any_series_gives_well_formed_finite_svg(values, share):
    svg = plots.line_chart(list(range(len(values))), values, label='a & <b>', share=share)
    root = ElementTree.fromstring(svg)
    assert not re.search(r'nan|inf', re.sub(r'aria-label="[^"]*"', '', svg))
    assert 'a & <b>' in root.get('aria-label')
    _, _, width, height = map(float, root.get('viewBox').split())
    for circle in elements(svg, 'dot'):
        assert 0 <= float(circle.get('cx')) <= width and 0 <= float(circle.get('cy')) <= height


@pytest.mark.parametrize('values', [[], [NAN], [math.inf, -math.inf]])
def test_no_finite_value_gives_no_picture(values):
    assert plots.line_chart(list(range(len(values))), values, label='x') == ''


def test_gap_splits_the_line():
    values = [1.0, 2.0, NAN, 3.0, 4.0, NAN, NAN, 5.0]
    svg = plots.line_chart(range(8), values, label='x')
    assert [len(line.get('points').split()) for line in elements(svg, 'curve')] == [2, 2, 1]


def test_line_passes_through_its_values():
    svg = plots.line_chart([0, 10, 20], [0.0, 1.0, 0.5], label='x')
    points = [tuple(map(float, point.split(','))) for point in elements(svg, 'curve')[0].get('points').split()]
    xs, ys = zip(*points)
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)
    assert ys[1] < ys[2] < ys[0]
    assert ys[0] - ys[2] == pytest.approx(ys[2] - ys[1], abs=0.2)
    gridline = [float(line.get('y1')) for line in elements(svg, 'grid')]
    assert min(gridline) == pytest.approx(ys[1], abs=0.1)  # the tick 1 lies where the value 1 lies


def test_last_value_is_written_and_is_the_drawn_one():
    assert texts(plots.line_chart([1, 2], [0.1, 0.93], label='x', share=True))[-1] == '93.0%'
    values = [float(index % 2) for index in range(100)]
    svg = plots.line_chart(range(100), values, label='x')
    assert elements(svg, 'raw') and texts(svg)[-1] == '0.667'  # of the last three, a window of five cut in half
    assert not elements(plots.line_chart(range(100), values, label='x', smooth=False), 'raw')


def test_last_finite_value_is_written_before_a_gap_at_the_end():
    assert texts(plots.line_chart([1, 2, 3], [0.25, 0.5, NAN], label='x'))[-1] == '0.5'


def test_few_points_are_drawn_as_they_are():
    svg = plots.line_chart(range(5), [1, 5, 2, 4, 3], label='x')
    assert not elements(svg, 'raw') and len(elements(svg, 'dot')) == 6


def test_many_points_keep_their_peak_and_stay_small():
    values = [0.0] * 100_000
    values[77_777] = 50.0
    svg = plots.line_chart(range(100_000), values, label='x')
    assert len(svg) < 60_000
    heights = [float(point.split(',')[1]) for line in elements(svg, 'raw') for point in line.get('points').split()]
    assert min(heights) < 40 and max(heights) == plots.HEIGHT - plots.BOTTOM


def test_smoothing_is_the_mean_over_the_window():
    values = [1.0, 2.0, 6.0, NAN, 4.0]
    assert plots.smoothed(values, 1)[:3] == values[:3]
    smooth = plots.smoothed(values, 3)
    assert smooth[:3] == [1.5, 3.0, 4.0] and math.isnan(smooth[3]) and smooth[4] == 4.0
    rng = np.random.default_rng(0)
    noise = rng.normal(size=101)
    np.testing.assert_allclose(plots.smoothed(noise, 5)[2:-2], np.convolve(noise, np.ones(5) / 5, 'valid'))


@pytest.mark.parametrize('low, high, wanted', [
    (0, 1, [0, 0.25, 0.5, 0.75, 1]), (0, 140, [0, 50, 100, 150]), (-3, 3, [-4, -2, 0, 2, 4]),
    (0.93, 0.95, [0.93, 0.935, 0.94, 0.945, 0.95]),
])
def test_ticks_are_round_and_hold_the_range(low, high, wanted):
    assert plots.ticks(low, high, 4) == pytest.approx(wanted)


def test_ticks_of_random_ranges():
    rng = np.random.default_rng(0)
    for _ in range(300):
        low = rng.normal() * 10 ** rng.uniform(-6, 6)
        high = low + 10 ** rng.uniform(-3, 3) * abs(low)
        found = plots.ticks(low, high, 4)
        step = found[1] - found[0]
        assert found[0] <= low + 1e-6 * step and found[-1] >= high - 1e-6 * step and 2 <= len(found) <= 8
    assert all(tick == int(tick) for tick in plots.ticks(0, 3, 5, integers=True))


def test_tick_labels_differ():
    for low, high, share in ((1, 1.0003, False), (0, 1e-3, False), (1e5, 1.01e5, False), (0.5, 0.501, True)):
        svg = plots.line_chart([0, 1], [low, high], label='x', share=share)
        labels = [text.text for text in ElementTree.fromstring(svg).iter('text') if text.get('text-anchor') == 'end']
        assert len(set(labels)) == len(labels) >= 3


@pytest.mark.parametrize('value, wanted', [
    (0, '0'), (1, '1'), (-0.5, '−0.5'), (0.123456, '0.123'), (12.345, '12.3'), (1234, '1.23k'), (2.5e8, '250M'),
    (3.2e12, '3.2e12'), (0.001, '0.001'), (-1.5e-5, '−1.5e-5'), (-1e-320, '−1e-320'),
])
def test_numbers_are_short(value, wanted):
    assert plots.format_value(value) == wanted


def test_change_picture_is_well_formed_and_stays_inside():
    for before, after, intervals in ((0.1, 0.9, [[0, .2], [.8, 1]]), (None, 1.0, [None, None]), (0, 0, [None, [0, 0]])):
        svg = plots.change_picture(before, after, intervals)
        width = float(ElementTree.fromstring(svg).get('viewBox').split()[2])
        circles = [float(circle.get('cx')) for circle in ElementTree.fromstring(svg).iter('circle')]
        assert len(circles) == (before is not None) + 1 and all(4 < x < width - 4 for x in circles)
