"""What a started sandbox is tried with before it runs anything else: each probe is a real attempt to break out.

A probe holds only if it ends as it should and says so itself; one that cannot run counts as an escape. Run as an
ordinary process, a probe reports the escape (the tests do this), so 'held' is the sandbox's merit.
"""
import contextlib
import os
import pathlib
import socket
import tempfile
from typing import NamedTuple

from mathrl.problems.sandbox import Sandbox, SandboxUnavailable

LOOP_SECONDS = 0.3


class Probe(NamedTuple):
    name: str
    code: str
    status: str = 'ok'
    output: str = 'held\n'


# Before each probe's code: HOST (what the host planted), held() and call(), which raises as Python's own functions do.
PREAMBLE = '''
import ctypes, glob, mmap, os, signal, socket, stat, sys, time
LIBC = ctypes.CDLL(None, use_errno=True)
def held(attempts):
    for name, attempt in attempts.items():
        try:
            got = attempt()
        except OSError:
            continue
        print(f'escaped: {name} -> {got!r:.200}')
        return
    print('held')
def call(name, *arguments):
    if LIBC[name](*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)
    return 'done'
'''

NETWORK = '''
def reach(family, address):
    with socket.socket(family) as stream:
        stream.settimeout(1)
        stream.connect(address)
    return 'connected'
held({'TCP': lambda: reach(socket.AF_INET, ('127.0.0.1', HOST['port'])),
      'Unix': lambda: reach(socket.AF_UNIX, HOST['unix'])})
'''
SECRETS = '''
def environment():
    for path in glob.glob('/proc/[0-9]*/environ'):
        with open(path, 'rb') as file:
            if found := file.read():
                return path, found
    if known := set(os.environ) - {'HOME', 'PWD', 'PYTHONHASHSEED', 'OPENBLAS_NUM_THREADS', 'LC_CTYPE'}:
        return known
    raise OSError
def files():
    for number in range(3, 256):
        try:
            return os.fstat(number)
        except OSError:
            pass
    raise OSError
paths = {path: lambda path=path: os.stat(path) for path in HOST['paths']}
held({'environment': environment, 'open files': files, **paths})
'''
WRITES = '''
def write(folder):
    with open(folder + '/sandbox-probe', 'w') as file:
        file.write('x')
    return 'written'
places = [HOST['folder'], '/', '/usr', '/usr/lib', '/dev', '/dev/shm', '/etc', '/python', '/python/lib', '/packages']
things = ['/', '/usr/lib', '/dev', '/dev/null', '/python/lib', '/python/bin/python3', '/zygote.py']
def change(path):
    return os.chmod(path, stat.S_IMODE(os.stat(path).st_mode))
held({**{'write ' + path: lambda path=path: write(path) for path in places},
      **{'change ' + path: lambda path=path: change(path) for path in things}})
'''
PRIVILEGES = '''
def root():
    if 0 in (os.getuid(), os.geteuid(), os.getgid(), os.getegid(), *os.getgroups()):
        return 'is root'
    raise OSError
held({'uid': root, 'setuid': lambda: os.setuid(0), 'setgid': lambda: os.setgid(0),
      'setgroups': lambda: os.setgroups([0]), 'chroot': lambda: os.chroot('/tmp'),
      'mknod': lambda: os.mknod('/tmp/d', stat.S_IFBLK | 0o600, os.makedev(8, 0)),
      'mount': lambda: call('mount', b'none', b'/tmp', b'tmpfs', 0, None),
      'hostname': lambda: call('sethostname', b'x', 1),
      'user namespace': lambda: call('unshare', 0x10000000), 'mount namespace': lambda: call('unshare', 0x20000),
      'trace process 1': lambda: call('ptrace', 16, 1, None, None)})
'''
SIGNALS = '''
for pid in (1, -1):
    for number in (9, 19, 15, 2):
        try:
            os.kill(pid, number)
        except OSError:
            pass
print('held')
'''
FORKS = '''
count = 0
try:
    while count < 200:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        count += 1
except OSError:
    pass
print('held' if count < 64 else f'escaped: {count} processes')
'''
DAEMON = '''
open('/tmp/left', 'w').write('x')
try:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(60)
        os._exit(0)
except OSError:
    pass
print('held')
'''
NEIGHBOURS = '''
def neighbours():
    for pid in range(2, os.getpid()):
        try:
            return pid, os.getpgid(pid)
        except ProcessLookupError:
            pass
    raise OSError
def left():
    if found := os.listdir('/tmp'):
        return found
    raise OSError
held({'a process of an earlier run': neighbours, 'a file of an earlier run': left})
'''
MEMORY = '''
taken = []
try:
    while len(taken) << 24 <= HOST['memory_bytes']:
        taken.append(mmap.mmap(-1, 1 << 24))
except (OSError, MemoryError):
    pass
print('held' if len(taken) << 24 < HOST['memory_bytes'] else 'escaped: more memory than the limit')
'''
DISK = '''
size = 0
try:
    for number in range(8):
        with open(f'/tmp/{number}', 'wb', buffering=0) as file:
            for _ in range(8):
                size += file.write(bytes(1 << 20))
except OSError:
    pass
print('held' if size <= 1 << 24 else f'escaped: {size} bytes written')
'''
LOOP = '''
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
while True:
    pass
'''
OUTPUT = '''
while True:
    os.write(1, b'x' * 4096)
'''

PROBES = [
    Probe('network', NETWORK), Probe('secrets', SECRETS), Probe('writes outside', WRITES),
    Probe('privileges', PRIVILEGES), Probe('signals', SIGNALS), Probe('fork bomb', FORKS), Probe('daemon', DAEMON),
    Probe('neighbours', NEIGHBOURS), Probe('memory', MEMORY), Probe('disk', DISK),
    Probe('endless loop', LOOP, 'timeout', ''), Probe('endless output', OUTPUT, 'output limit', 'x' * 4096),
    Probe('neighbours', NEIGHBOURS),
]


def check(sandbox: Sandbox, memory_bytes: int):
    """Tries every probe; SandboxUnavailable names the first that the sandbox does not hold."""
    with planted(memory_bytes) as host:
        for probe in PROBES:
            seconds = LOOP_SECONDS if probe.status == 'timeout' else 10.0
            result = sandbox.run(source(probe, host), seconds, memory_bytes, 4096)
            if (result['status'], result['output']) != (probe.status, probe.output):
                raise SandboxUnavailable(
                    f'the Python sandbox does not hold here, so no program is run; probe {probe.name!r}: '
                    f'{result["status"]}, {result["output"][-300:].strip()!r}')


def source(probe: Probe, host: dict) -> str:
    return f'HOST = {host!r}\n{PREAMBLE}{probe.code}'


@contextlib.contextmanager
def planted(memory_bytes: int):
    """What only an escaped program could reach: two listening sockets and a folder with a file, open to everyone."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        os.chmod(folder, 0o777)
        secret = pathlib.Path(folder, 'secret')
        secret.write_text('secret')
        tcp.bind(('127.0.0.1', 0))
        tcp.listen()
        unix.bind('')               # the kernel chooses an abstract name, which file permissions do not guard
        unix.listen()
        paths = [str(secret), '/etc/shadow', '/etc/passwd', '/proc/1/root', *_home()]
        yield {'port': tcp.getsockname()[1], 'unix': unix.getsockname(), 'folder': folder, 'paths': paths,
               'memory_bytes': memory_bytes}


def _home() -> list[str]:
    """What lies in the user's home; nothing where the home is / (in containers), or may not be read."""
    home = pathlib.Path.home()
    return sorted(str(path) for path in home.iterdir())[:200] if home.name and os.access(home, os.R_OK) else []
