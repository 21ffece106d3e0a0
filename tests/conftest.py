"""Eight CPU devices for every test, strict rank promotion, and the folder of shared data."""

import os
import pathlib

from mathrl import cpu

# Read by jax when it starts, so before any test imports it.
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['XLA_FLAGS'] = os.environ.get('XLA_FLAGS', '') + (
    ' --xla_force_host_platform_device_count=8'
    ' --xla_backend_optimization_level=0')     # compiles faster; what is tested does not depend on it
cpu.set_flags()

import jax
import pytest

jax.config.update('jax_numpy_rank_promotion', 'raise')

REPOSITORY = pathlib.Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def exact_products():
    """Equality tests compare products of full float32 precision, on any backend."""
    with jax.default_matmul_precision('highest'):
        yield


@pytest.fixture(autouse=True, scope='module')
def compiled_programs_of_a_module():
    """Let go behind each file: every compiled program takes several memory maps, of which Linux gives a process 65,530."""
    yield
    jax.clear_caches()


@pytest.fixture(scope='session')
def repository() -> pathlib.Path:
    return REPOSITORY


@pytest.fixture(scope='session')
def shared() -> pathlib.Path:
    """The folder ../shared beside the repository, which holds data that is not part of it."""
    folder = REPOSITORY.parent / 'shared'
    if not folder.is_dir():
        pytest.skip(f'needs the shared data in {folder}, which is not there')
    return folder
