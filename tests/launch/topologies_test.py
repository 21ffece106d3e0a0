"""Names of slices against Google's tables; what does not exist is told with what is nearest."""

import math

import pytest

from launch import topologies


@pytest.mark.parametrize('name, chips, hosts, topology, machine, label', [
    ('v5p-8', 4, 1, '2x2x1', 'ct5p-hightpu-4t', 'tpu-v5p-slice'),
    ('v5p-128', 64, 16, '4x4x4', 'ct5p-hightpu-4t', 'tpu-v5p-slice'),
    ('v5p-512', 256, 64, '4x8x8', 'ct5p-hightpu-4t', 'tpu-v5p-slice'),
    ('v5p-12288', 6144, 1536, '16x16x24', 'ct5p-hightpu-4t', 'tpu-v5p-slice'),
    ('v4-32', 16, 4, '2x2x4', 'ct4p-hightpu-4t', 'tpu-v4-podslice'),
    ('v4-4096', 2048, 512, '8x16x16', 'ct4p-hightpu-4t', 'tpu-v4-podslice'),
    ('v5e-1', 1, 1, '1x1', 'ct5lp-hightpu-1t', 'tpu-v5-lite-podslice'),
    ('v5litepod-8', 8, 1, '2x4', 'ct5lp-hightpu-8t', 'tpu-v5-lite-podslice'),
    ('v5e-64', 64, 16, '8x8', 'ct5lp-hightpu-4t', 'tpu-v5-lite-podslice'),
    ('v6e-4', 4, 1, '2x2', 'ct6e-standard-4t', 'tpu-v6e-slice'),
    ('v6e-256', 256, 64, '16x16', 'ct6e-standard-4t', 'tpu-v6e-slice'),
    ('tpu7x-128', 64, 16, '4x4x4', 'tpu7x-standard-4t', 'tpu7x'),
    ('V5P-4x4x8', 128, 32, '4x4x8', 'ct5p-hightpu-4t', 'tpu-v5p-slice'),
])
def test_name_gives_what_google_says(name, chips, hosts, topology, machine, label):
    found = topologies.find(name)
    assert (found.chips, found.hosts, found.topology, found.machine, found.label) == (chips, hosts, topology, machine, label)


def test_every_slice_is_whole():
    for family in topologies.FAMILIES:
        for one in topologies._slices(family):
            assert one.chips == math.prod(map(int, one.topology.split('x'))) == one.hosts * one.chips_per_host
            assert topologies.find(one.name) == topologies.find(f'{family.name}-{one.topology}') == one


def test_tpu7x_shows_two_devices_a_chip():
    assert topologies.find('tpu7x-128').devices == 128 and topologies.find('v5p-128').devices == 64


@pytest.mark.parametrize('name, told', [
    ('v5q-128', 'did you mean v5p-128'),
    ('v5p', 'did you mean v5p-8'),
    ('h100', 'versions: v4, v5e, v5p, v6e, tpu7x'),
    ('v5p-100', 'nearest: v5p-64 and v5p-128'),
    ('v5e-512', 'nearest: v5litepod-256'),
    ('v5p-8x4x4', 'no topology 8x4x4; nearest: 4x4x8, which is v5p-256'),
    ('v6e-3x3', 'no topology 3x3'),
    ('v5p-0', 'nearest: v5p-8'),
])
def test_what_does_not_exist_is_told_with_what_is_near(name, told):
    with pytest.raises(ValueError, match='^--tpu=') as error:
        topologies.find(name)
    assert told in str(error.value) and '\n' not in str(error.value)
