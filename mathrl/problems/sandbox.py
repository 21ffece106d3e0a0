"""One sandbox: bubblewrap around the zygote of sandbox_zygote.py, which runs model-written Python, a snippet at a time.

What a snippet finds: no network, no /proc, no /sys, no environment; the interpreter, the system's libraries and a few
packages, read-only; 16 MB of /tmp that is emptied after each snippet; a uid that is nobody's, no capability, and process
1 as its only neighbour. Namespaces, mounts and limits hold it without the filter of system calls too (tests try both).

As root, bubblewrap would map its inner uid to root, whose files may be changed and whose processes are not counted by
RLIMIT_NPROC. So root starts it twice: the first lays out the files, becomes uid 64999, and starts the second, which is
the sandbox. The first has a process namespace too, since it may not signal what it started under another uid: when its
process 1 dies, the kernel ends the rest. Nothing here needs a privilege that an ordinary user lacks.
"""
import importlib.util
import json
import os
import platform
import select
import shutil
import struct
import subprocess
import sys
import time

from mathrl.problems import sandbox_filter

PACKAGES = ('mpmath', 'sympy', 'numpy', 'scipy')    # those that are installed; scipy is not imported beforehand
OUTER_UID = 64999                                   # no account has it
INNER_UID = 65534
FOLDER_BYTES = 1 << 24
START_SECONDS = 60
GRACE_SECONDS = 5                                   # beyond a snippet's own, before the whole sandbox is killed
NULL = ('--dev-bind', '/dev/null', '/dev/null')
DROP = ('import os, sys; os.setgroups([]); os.setgid({0}); os.setuid({0}); '
        'os.execve("/bwrap", sys.argv[1:], {{}})').format(OUTER_UID)
PYTHON = '/python/bin/python3'
FOLDERS = sorted({'lib', sys.platlibdir})            # of the interpreter's own library and modules
# An interpreter may be linked to its library by a path of the host.
LINKED = ('--setenv', 'LD_LIBRARY_PATH', ':'.join(f'/python/{folder}' for folder in FOLDERS))


class SandboxUnavailable(RuntimeError):
    """Model-written Python cannot be run safely here, and so is not run."""


class Sandbox:
    """A started sandbox: `run` a snippet, `close` when done. SandboxUnavailable says what is missing.

    `seccomp=b''` leaves the filter of system calls out, to test the other layers.
    """

    def __init__(self, seccomp: bytes | None = None):
        self._filter = _filter() if seccomp is None else seccomp
        self._start()

    def run(self, code: str, seconds: float, memory_bytes: int, output_bytes: int) -> dict:
        """-> output, status and seconds, as ToolResult has them. A sandbox that died or was broken is started again."""
        if self._process.poll() is not None:
            self.restart()
        start = time.monotonic()
        request = dict(code=code, seconds=seconds, memory_bytes=memory_bytes, output_bytes=output_bytes)
        try:
            self._send(request)
            reply = self._receive(seconds + GRACE_SECONDS)
        except (OSError, EOFError, TimeoutError) as error:
            reply = {'output': '', 'status': 'timeout' if isinstance(error, TimeoutError) else 'killed',
                     'seconds': time.monotonic() - start, 'unclean': 'no reply'}
        if reply.pop('unclean'):
            self.restart()
        return reply

    def restart(self):
        self.close()
        self._start()

    def close(self):
        """Ends every process of the sandbox, and waits until all are gone: each holds the standard error open."""
        if self._process.stderr.closed:
            return
        self._process.stdin.close()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        poll, deadline = select.poll(), time.monotonic() + GRACE_SECONDS
        poll.register(self._process.stderr, select.POLLIN)
        while poll.poll(max(0, 1000 * (deadline - time.monotonic()))) and self._process.stderr.read(4096):
            pass
        self._process.stdout.close()
        self._process.stderr.close()

    @property
    def pid(self) -> int:
        """The outermost process, for those who measure it."""
        return self._process.pid

    def _start(self):
        self._process = subprocess.Popen(
            command(), env={}, cwd='/', bufsize=0, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            self._send({'packages': [name for name, _ in _packages()], 'filter': self._filter.hex()})
            self._receive(START_SECONDS)
        except (OSError, EOFError, TimeoutError):
            self._process.kill()
            said = self._process.stderr.read(65536).decode(errors='replace').strip() or 'nothing was said'
            self.close()
            raise SandboxUnavailable(
                f'bubblewrap could not start the Python sandbox here: {said.splitlines()[-1][:500]}') from None

    def _send(self, message: dict):
        body = json.dumps(message).encode()
        data = memoryview(struct.pack('>I', len(body)) + body)
        while data:
            data = data[self._process.stdin.write(data):]

    def _receive(self, seconds: float) -> dict:
        deadline = time.monotonic() + seconds
        size, = struct.unpack('>I', self._take(4, deadline))
        return json.loads(self._take(size, deadline))

    def _take(self, size: int, deadline: float) -> bytes:
        pipe, data, poll = self._process.stdout, bytearray(), select.poll()
        poll.register(pipe, select.POLLIN)
        while len(data) < size:
            if not poll.poll(max(0, 1000 * (deadline - time.monotonic()))):
                raise TimeoutError
            chunk = pipe.read(size - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return bytes(data)


def command() -> list[str]:
    """The whole command line; see the top of the file for why it is two commands for root."""
    bwrap = shutil.which('bwrap')
    if bwrap is None:
        raise SandboxUnavailable('running model-written Python needs bubblewrap, and no bwrap is on the PATH')
    mounts, links = _mounts()
    inside = [
        '--unshare-all', '--unshare-user', '--disable-userns', '--cap-drop', 'ALL',
        '--uid', str(INNER_UID), '--gid', str(INNER_UID), '--hostname', 'sandbox',
        '--new-session', '--die-with-parent', '--as-pid-1', *NULL,
        '--size', str(FOLDER_BYTES), '--perms', '0700', '--tmpfs', '/tmp', '--chdir', '/tmp', '--remount-ro', '/',
        '--clearenv', '--setenv', 'HOME', '/tmp', '--setenv', 'PYTHONHASHSEED', '0',
        '--setenv', 'OPENBLAS_NUM_THREADS', '1', *LINKED,
        PYTHON, '-s', '-S', '-B', '-P', '-X', 'utf8', '/zygote.py']
    if os.getuid() != 0:
        return [bwrap, *_binds(mounts), *links, *inside]
    staged = {inner: inner for inner in mounts}
    folders = sorted({folder for inner in [*mounts, '/dev/null', '/tmp/x'] for folder in _parents(inner)})
    return [
        bwrap, *(word for folder in folders for word in ('--perms', '0755', '--dir', folder)),
        *_binds({**mounts, '/bwrap': os.path.realpath(bwrap)}), *links, *NULL, '--unshare-pid', '--proc', '/proc',
        '--die-with-parent', '--cap-drop', 'ALL', '--cap-add', 'CAP_SETUID', '--cap-add', 'CAP_SETGID', *LINKED,
        PYTHON, '-I', '-S', '-c', DROP,
        'bwrap', *_binds(staged), *links, *inside]


def _mounts() -> tuple[dict[str, str], list[str]]:
    """Path inside -> path of the host, all read-only, and bubblewrap's words for links such as /lib -> usr/lib."""
    zygote = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'sandbox_zygote.py')
    mounts, links = {'/zygote.py': zygote, PYTHON: os.path.realpath(sys.executable)}, []
    for folder in FOLDERS:
        mounts[f'/python/{folder}'] = os.path.join(sys.base_prefix, folder)
    for folder in ('/usr/lib', '/usr/lib64', '/lib', '/lib64'):
        if os.path.islink(folder):
            links += ['--symlink', os.readlink(folder), folder]
        elif os.path.isdir(folder):
            mounts[folder] = folder
    for name, folder in _packages():
        mounts[f'/packages/{name}'] = folder
        if os.path.isdir(f'{folder}.libs'):
            mounts[f'/packages/{name}.libs'] = f'{folder}.libs'
    return mounts, links


def _packages() -> list[tuple[str, str]]:
    specs = [(name, importlib.util.find_spec(name)) for name in PACKAGES]
    return [(name, spec.submodule_search_locations[0]) for name, spec in specs if spec is not None]


def _binds(mounts: dict[str, str]) -> list[str]:
    return [word for inner, source in mounts.items() for word in ('--ro-bind', source, inner)]


def _parents(path: str) -> list[str]:
    return ['/' + '/'.join(path.split('/')[1:depth]) for depth in range(2, path.count('/') + 1)]


def _filter() -> bytes:
    machine = platform.machine()
    if machine not in sandbox_filter.MACHINES:
        raise SandboxUnavailable(f'no filter of system calls is written for {machine!r}; '
                                 f'there are: {", ".join(sandbox_filter.MACHINES)}')
    return sandbox_filter.program(machine)
