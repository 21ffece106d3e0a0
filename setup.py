"""Packaging: floors only; the exact sets that were tested lie in launch/constraints/."""

from setuptools import find_packages, setup

BASE = [
    'jax>=0.10',
    'flax>=0.12',
    'optax>=0.2.5',
    'orbax-checkpoint>=0.11.30',
    'seqio>=0.0.20',
    'tensorflow>=2.20',
    'tensorflow-datasets>=4.9.9',
    # TFDS prepares data with it, and does not ask for it.
    'importlib_resources>=6.0',
    'tensorflow-text>=2.20',
    # 0.2.3 needs protobuf 7, which Apache Beam does not allow.
    'sentencepiece>=0.2,<0.2.3',
    'gin-config>=0.5',
    'grain>=0.2.12',
    'array_record>=0.8',
    'tokenizers>=0.21',
    'jinja2>=3.1',
    'pyyaml>=6.0',
    'tensorboardX>=2.6',
    'latex2mathml>=3.80',
    'mpmath>=1.3',
    # Programs that a model writes find it in their sandbox.
    'sympy>=1.13',
    'etils[epath,epy]>=1.12',
    'numpy>=2.0',
    'zstandard>=0.23',
]

MINING = [
    'apache-beam[dask,tfrecord]>=2.70',
    'fasttext-community>=0.11.9',
    'fastwarc>=0.16',
    'fsspec>=2024.2',
    'resiliparse>=0.16',
    # Another version may compute other signatures, and so other duplicates.
    'rensa>=0.5,<0.6',
]

SWEEP = ['optuna>=4.0']

EXTRAS = {
    'tpu': ['jax[tpu]>=0.10'],
    'cuda': ['jax[cuda12]>=0.10'],
    'mining': MINING,
    'sweep': SWEEP,
    # libtpu holds the TPU compiler, which needs no TPU; it is published for x86 Linux alone.
    'test': [*MINING, *SWEEP, 'pytest>=8.0', 'safetensors>=0.5',
             'jax[tpu]>=0.10; sys_platform == "linux" and platform_machine == "x86_64"'],
}

setup(
    name='mathrl',
    version='0.1.0',
    description='DeepSeekMath as one JAX codebase: mining, pre-training, SFT, GRPO and evaluation.',
    license='Apache-2.0',
    python_requires='>=3.11',
    packages=find_packages(include=['mathrl*']),
    install_requires=BASE,
    extras_require=EXTRAS,
)
