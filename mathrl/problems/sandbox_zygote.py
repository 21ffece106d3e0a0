"""The process inside the sandbox: imports SymPy once, then forks a child a snippet. Run by sandbox.py, never imported.

It is process 1 of its own process namespace, so the kernel drops every signal that a snippet sends it, and its kill(-1)
ends whatever a snippet left running. It cannot be traced or read, although it has the snippet's uid (PR_SET_DUMPABLE 0).
It alone holds the two pipes to the host (file descriptors 0 and 1): a child has them replaced before its snippet starts,
so a result can come from here only, and of a child it takes bytes to show and an exit status. A child also limits
itself and installs the filter of system calls before the snippet's first line. A message is its length and JSON.
"""
import ctypes
import gc
import importlib
import json
import os
import random
import resource
import select
import shutil
import signal
import struct
import sys
import time
import traceback
import types
import warnings

OUT_OF_MEMORY = 77          # exit status of a child
FILES = 1000                # in /tmp: each takes kernel memory that the size of /tmp does not count
TICK = 0.1                  # seconds between two looks at /tmp
PROCESSES = 16              # threads, that is; new processes are refused by the filter
PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 4, 38, 22, 2
FOLDER = '/tmp'


class Program(ctypes.Structure):
    """struct sock_fprog."""
    _fields_ = [('length', ctypes.c_ushort), ('filter', ctypes.c_char_p)]


def main():
    os.closerange(3, os.sysconf('SC_OPEN_MAX'))
    os.environ.pop('LD_LIBRARY_PATH', None)            # it has done its work
    signal.signal(signal.SIGINT, signal.SIG_DFL)       # a handler would let this one through to process 1
    libc = ctypes.CDLL(None, use_errno=True)
    prctl(libc, PR_SET_DUMPABLE, 0)
    settings = read()
    load(settings['packages'])
    seccomp = bytes.fromhex(settings['filter'])
    write({'pid': os.getpid()})
    while (request := read()) is not None and serve(request, libc, seccomp):
        pass


def serve(request: dict, libc, seccomp: bytes) -> bool:
    """Runs a snippet and replies; False if what it left cannot be removed.

    No frame that is alive when a child is forked holds an earlier result: a snippet can walk through them.
    """
    result = run(request, libc, seccomp)
    try:
        wipe()
    except (OSError, RecursionError) as error:         # folders too deep, or closed to their owner: start afresh
        write({**result, 'unclean': repr(error)})
        return False
    write({**result, 'unclean': ''})
    return True


def read():
    """The next message, or None when the host has gone."""
    header = take(4)
    return None if header is None else json.loads(take(struct.unpack('>I', header)[0]))


def take(size: int):
    data = bytearray()
    while len(data) < size:
        chunk = os.read(0, size - len(data))
        if not chunk:
            return None
        data += chunk
    return bytes(data)


def write(message: dict):
    body = json.dumps(message).encode()
    data = struct.pack('>I', len(body)) + body
    while data:
        data = data[os.write(1, data):]


def load(packages: list):
    """Imports, and first calls that import more, so that no child has to; what is loaded is left out of collection."""
    warnings.simplefilter('ignore')
    sys.path.append('/packages')
    modules = {name: importlib.import_module(name) for name in packages if name != 'scipy'}
    if 'sympy' in modules:
        sympy = modules['sympy']
        x = sympy.Symbol('x')
        sympy.solve(x ** 2 - 5 * x + 6, x)
        sympy.simplify(sympy.sin(x) ** 2 + sympy.cos(x) ** 2)
        sympy.integrate(x * sympy.exp(x), x)
    seed()
    gc.collect()
    gc.freeze()


def run(request: dict, libc, seccomp: bytes) -> dict:
    """One snippet in one child -> its output, how it ended and the seconds that it took; nothing of it runs on."""
    start = time.monotonic()
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        child(request, theirs, libc, seccomp)
    os.close(theirs)
    output, status = watch(pid, ours, start + request['seconds'], request['output_bytes'])
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        pass
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    reap()
    while not status and (chunk := os.read(ours, 65536)):
        output += chunk
        if len(output) > request['output_bytes']:
            status = 'output limit'
    os.close(ours)
    text = bytes(output[:request['output_bytes']]).decode('utf-8', 'replace')
    return {'output': text, 'status': status or ending(code), 'seconds': time.monotonic() - start}


def watch(pid: int, pipe: int, deadline: float, output_bytes: int):
    """Reads the child's output until it ends ('') or is to be ended (the reason)."""
    output, child_fd, poll = bytearray(), os.pidfd_open(pid), select.poll()
    poll.register(pipe, select.POLLIN)
    poll.register(child_fd, select.POLLIN)
    try:
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return output, 'timeout'
            ready = [fd for fd, _ in poll.poll(1000 * min(left, TICK))]
            if pipe in ready:
                chunk = os.read(pipe, 65536)
                output += chunk
                if len(output) > output_bytes:
                    return output, 'output limit'
                if not chunk:
                    poll.unregister(pipe)
            elif child_fd in ready:
                return output, ''
            used = os.statvfs(FOLDER)
            if used.f_files - used.f_ffree > FILES:
                return output, 'out of memory'
    finally:
        os.close(child_fd)


def reap():
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        pass


def ending(code: int) -> str:
    return 'killed' if code < 0 else {0: 'ok', OUT_OF_MEMORY: 'out of memory'}.get(code, 'error')


def wipe():
    with os.scandir(FOLDER) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)


def child(request: dict, pipe: int, libc, seccomp: bytes, leave=os._exit):
    """Never returns: whatever happens here ends the process."""
    code = 1
    try:
        null = os.open('/dev/null', os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(pipe, 1)
        os.dup2(pipe, 2)
        os.closerange(3, os.sysconf('SC_OPEN_MAX'))
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(encoding='utf-8', errors='backslashreplace', line_buffering=True)
        seed()
        limit(request)
        if seccomp:
            confine(libc, seccomp)
        code = execute(request['code'])
        sys.stdout.flush()
    except MemoryError:
        code = OUT_OF_MEMORY
    finally:
        leave(code)


def seed():
    """The same snippet draws the same numbers each time."""
    random.seed(0)
    if 'numpy' in sys.modules:
        sys.modules['numpy'].random.seed(0)


def limit(request: dict):
    """The most that the child may take; none of these can be raised again."""
    for kind, most in [
            (resource.RLIMIT_AS, request['memory_bytes']), (resource.RLIMIT_CPU, int(request['seconds']) + 2),
            (resource.RLIMIT_NPROC, PROCESSES), (resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_FSIZE, 1 << 24), (resource.RLIMIT_MEMLOCK, 0), (resource.RLIMIT_MSGQUEUE, 0)]:
        resource.setrlimit(kind, (most, most))


def confine(libc, seccomp: bytes):
    prctl(libc, PR_SET_NO_NEW_PRIVS, 1)
    program = Program(len(seccomp) // 8, seccomp)
    prctl(libc, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program))


def prctl(libc, *arguments: int):
    if libc.prctl(*(ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:5])):
        raise OSError(ctypes.get_errno(), f'prctl{arguments} failed')


def execute(code: str) -> int:
    """Runs the snippet as a program of its own; an exception is printed as Python prints it, its last ten calls."""
    module = types.ModuleType('__main__')
    sys.modules['__main__'] = module
    try:
        exec(compile(code, '<snippet>', 'exec'), module.__dict__)
        return 0
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        return 0 if error.code in (None, 0) else 1
    except BaseException as error:
        sys.stdout.flush()
        own = error.__traceback__.tb_next
        traceback.print_exception(type(error), error, own, limit=-10)
        return OUT_OF_MEMORY if isinstance(error, MemoryError) else 1


if __name__ == '__main__':
    main()
