"""Each probe reports an escape where nothing holds it: as an ordinary process, or in a sandbox that lets it through."""
import subprocess
import sys

import pytest

from mathrl.problems import sandbox_probes

# The others would fill a disk, leave processes, or never end: python_tool_test loosens a sandbox for these.
HARMLESS = ('network', 'secrets', 'writes outside', 'privileges', 'memory', 'neighbours')
PROBES = {probe.name: probe for probe in sandbox_probes.PROBES}


@pytest.mark.parametrize('name', HARMLESS)
def test_an_ordinary_process_does_not_hold(name):
    with sandbox_probes.planted(memory_bytes=1 << 28) as host:
        source = sandbox_probes.source(PROBES[name], host)
        output = subprocess.run([sys.executable, '-c', source], capture_output=True, text=True, timeout=30).stdout
    assert output.startswith('escaped: ') and output != PROBES[name].output


def test_each_part_of_a_probe_is_needed():
    """held() stops at the first escape, so the parts behind it are tried one by one."""
    with sandbox_probes.planted(memory_bytes=1 << 28) as host:
        for part in ("{'Unix': lambda: reach(socket.AF_UNIX, HOST['unix'])}", "{'TCP': lambda: reach(socket.AF_INET, "
                     "('127.0.0.1', HOST['port']))}"):
            network = sandbox_probes.NETWORK[:sandbox_probes.NETWORK.index('held(')] + f'held({part})'
            source = sandbox_probes.source(sandbox_probes.Probe('network', network), host)
            output = subprocess.run([sys.executable, '-c', source], capture_output=True, text=True, timeout=30).stdout
            assert output.startswith('escaped: ') and 'connected' in output


def test_every_escape_that_must_be_probed_is():
    assert {'network', 'secrets', 'fork bomb', 'memory', 'endless loop', 'writes outside', 'privileges'} < set(PROBES)
