"""Names of TPU slices, and where their torus is closed."""
import pytest

from mathrl.programs import topologies
from mathrl.programs.topologies import Slice, parse


@pytest.mark.parametrize('text, wanted', [('v5p:4x4x4', Slice('v5p', (4, 4, 4))), ('v5e:16x16', Slice('v5e', (16, 16))),
                                          ('v4:2x2x1', Slice('v4', (2, 2, 1))), ('v5e:4x8:2', Slice('v5e', (4, 8), 2))])
def test_a_slice_is_read(text, wanted):
    assert parse(text) == wanted


@pytest.mark.parametrize('text, said', [
    ('v5p', 'names no TPU slice: chip:sides'), ('v5p:4x4x', 'names no TPU slice'), ('h100:8x8', 'unknown chip h100; there are: v4, v5e'),
    ('v5p:4x4', 'a slice of v5p has 3 sides'), ('v5e:4x4x4', 'a slice of v5e has 2 sides'), ('v5e:0x4', 'of at least 1')])
def test_what_is_no_slice_is_one_sentence(text, said):
    with pytest.raises(ValueError, match=said) as caught:
        parse(text)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('text, wanted', [('v5p:4x4x8', (True, True, True)), ('v5p:2x4x4', (False, True, True)),
                                          ('v5e:16x16', (True, True, False)), ('v5e:8x16', (False, False, False))])
def test_the_torus_is_closed_where_the_links_are(text, wanted):
    assert parse(text).wrap() == wanted


def test_without_the_compiler_is_one_sentence(monkeypatch):
    monkeypatch.setattr(topologies.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'jax\[tpu\]'"):
        topologies.set_environment()
