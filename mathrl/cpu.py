"""What makes XLA's CPU backend faster and leaner.

Tunables and flags are read when a process or the backend starts, so they come first of all.
"""
import ctypes
import functools
import os
import pathlib
import sys

# Of XLA. Level 1 leaves out LLVM's later passes, which saves a fifth of the compile time: products are a library's, and as fast.
# Vectors of 512 bits, where XLA asks for 256 by itself: decoding takes .95 of the time.
# Not among them: xla_backend_extra_options=xla_cpu_use_multi_output_fusion=true, with which an update takes .95 of the time.
# XLA's compiler then aborts on some programs of decoding, and two equal models differ by rounding (jax 0.10.2).
FLAGS = {'xla_backend_optimization_level': '1', 'xla_cpu_prefer_vector_width': '512'}
HUGE_PAGES = 'glibc.malloc.hugetlb=1'      # GLIBC_TUNABLES of a process, which has its memory in pages of 2 MB
GIGABYTE = 1 << 30
COMPILE_EVENT = '/jax/core/compile/backend_compile_duration'
LONG = .5                                  # seconds of compiling, beside which giving memory back (some hundredths) is short
SHARE = 8                                  # threads keep up to one part in so many of the memory
RESERVED = pathlib.Path(f'/sys/kernel/mm/hugepages/hugepages-{GIGABYTE >> 10}kB/nr_hugepages')
OVERCOMMIT = pathlib.Path('/proc/sys/vm/overcommit_memory')
CGROUP = pathlib.Path('/sys/fs/cgroup/memory.max')


def kept_memory() -> str:
    """GLIBC_TUNABLES of a process whose threads keep what they have freed, for their next block.

    XLA asks for all of a step's memory in one block and hands it back behind the step. The kernel clears it each time, and
    a virtual machine may give it to its host meanwhile: some hundredths of a step's time, a fifth of an update's on a busy host. So
    blocks below a bound lie in their thread's heap and stay there. A heap ends at 64 MB, or at four pages where pages of a
    size are asked for; none of 1 GB is there to be had (RESERVED), so heaps of 4 GB are made, out of plain pages.
    The bound: were each core's thread to keep that much, an eighth of the memory would be kept. A kernel without such pages, or
    one that counts memory when it is asked for (OVERCOMMIT 2), gives huge pages in place of it: what is cleared is cleared faster.
    """
    if _read(RESERVED) != '0' or _read(OVERCOMMIT) == '2':
        return HUGE_PAGES
    memory, most = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'), _read(CGROUP)
    kept = min(memory, int(most) if most.isdigit() else memory) // (SHARE * os.cpu_count())
    return f'glibc.malloc.hugetlb={GIGABYTE}:glibc.malloc.mmap_threshold={kept}:glibc.malloc.trim_threshold={kept}'


def with_kept_memory() -> None:
    """Begins the program anew, as the same process, with kept_memory(): glibc reads that at the start alone.

    Nothing happens off CPUs and off Linux, or where GLIBC_TUNABLES is set.
    """
    if os.environ.get('JAX_PLATFORMS') == 'cpu' and sys.platform == 'linux' and 'GLIBC_TUNABLES' not in os.environ:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {'GLIBC_TUNABLES': kept_memory()})


def set_flags() -> None:
    """Adds to XLA_FLAGS those of FLAGS that it does not name, where programs are to run on CPUs."""
    if os.environ.get('JAX_PLATFORMS') != 'cpu':
        return
    given = os.environ.get('XLA_FLAGS', '')
    missing = ' '.join(f'--{name}={value}' for name, value in FLAGS.items() if name not in given)
    os.environ['XLA_FLAGS'] = f'{given} {missing}'.strip()


def return_memory_after_compiling() -> None:
    """From now on, what compiling a program took goes back to the system as soon as that program is there.

    glibc keeps it otherwise, beside the blocks of steps: some 250 MB behind three small programs. Nothing happens where jax
    has not been imported, off CPUs, or where the C library has no malloc_trim.
    """
    if os.environ.get('JAX_PLATFORMS') == 'cpu' and 'jax' in sys.modules:
        _trim_after_compiling(sys.modules['jax'].monitoring)


@functools.cache
def _trim_after_compiling(monitoring) -> None:
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)

    def compiled(event: str, seconds: float, **unused) -> None:
        if event == COMPILE_EVENT and seconds >= LONG:
            trim(0)
    if trim is not None:
        monitoring.register_event_duration_secs_listener(compiled)


def _read(file: pathlib.Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ''
