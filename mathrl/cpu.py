"""What makes XLA's CPU backend faster. All of it is read when a process or the backend starts, so it comes first of all."""
import os
import sys

HUGE_PAGES = 'glibc.malloc.hugetlb=1'      # GLIBC_TUNABLES of a process


def with_huge_pages() -> None:
    """Begins the program anew, as the same process, with its memory in pages of 2 MB: glibc reads that at the start alone.

    XLA asks for all of a step's memory at once and hands it back behind the step; in small pages the kernel's work for that
    takes a sixth of a step's time. Kept memory (mallopt) would be cut to pieces that the next step does not fit into.
    Nothing happens off CPUs and off Linux, or where GLIBC_TUNABLES is set.
    """
    if os.environ.get('JAX_PLATFORMS') == 'cpu' and sys.platform == 'linux' and 'GLIBC_TUNABLES' not in os.environ:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {'GLIBC_TUNABLES': HUGE_PAGES})


def compile_lightly() -> None:
    """Has XLA leave out LLVM's later passes on CPUs: a fifth of the compile time; products are a library's, and as fast."""
    given = os.environ.get('XLA_FLAGS', '')
    if os.environ.get('JAX_PLATFORMS') == 'cpu' and 'xla_backend_optimization_level' not in given:
        os.environ['XLA_FLAGS'] = f'{given} --xla_backend_optimization_level=1'.strip()
