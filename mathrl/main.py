"""The one entry of every program: reads gin files, refuses what they get wrong, runs what PROGRAM names.

A fault in what the user gave is one sentence on stderr and exit code 2; one of the code keeps its traceback. A run that was
told to stop, or lost another of its processes, ends with exit code 75: start again.
Nothing heavy is imported before it is needed: --help answers without jax, TensorFlow or gin.
"""

import argparse
import ast
import difflib
import importlib.util
import inspect
import linecache
import os
import signal
import sys
import sysconfig
import traceback

from mathrl import cpu, processes

DESCRIPTION = """\
python -m mathrl.main --gin_file=F [--gin_file=G] [--gin.NAME=VALUE ...] --workdir=DIR [--dry_run]

Runs the program that the gin files name by PROGRAM = @module.function. The same command again goes on
where a stopped run left off."""
EPILOG = """\
--gin.NAME=VALUE sets a macro or a parameter after the files: --gin.STEPS=200, --gin.rl.run.seed=1.
VALUE is a gin literal, so a string keeps quotes of its own: --gin.PROBLEMS='"train.jsonl"'.
DIR receives config.gin (the resolved configuration, itself a gin file), metrics, checkpoints, reports."""


class Flags(argparse.ArgumentParser):
    """Ends a wrong command line with one sentence."""

    def error(self, message):
        raise ValueError(f'{message} (see --help).')


def parse_flags(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The flags, and the NAME=VALUE of every --gin.NAME=VALUE in order."""
    parser = Flags(prog='mathrl.main', usage=argparse.SUPPRESS, description=DESCRIPTION, epilog=EPILOG,
                   allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--gin_file', action='append', default=[], metavar='FILE',
                        help='a gin file, found from here or from the repository root; later files win')
    parser.add_argument('--workdir', metavar='DIR',
                        help='where results go: a folder, made if absent, or gs://...; may be left out where '
                             '--gin.OUTPUT names a file or --gin.TARGET a folder, and is then the folder NAME.run beside it')
    parser.add_argument('--dry_run', action='store_true',
                        help='print the resolved configuration and what would run; compute and write nothing')
    parser.add_argument('--compile_for', metavar='SLICE',
                        help='compile the steps of the run for TPUs that are not here, such as v5p:4x4x4 or v5e:16x16:2 (two '
                             'slices), and print whether they fit; nothing is run or written, no data is read')
    parser.add_argument('--beam_options', metavar='OPTIONS',
                        help="Apache Beam's own options, for programs that run on it: short for --gin.BEAM_OPTIONS")
    parser.add_argument('--traceback', action='store_true', help='show where an error was raised')
    parser.add_argument('--distributed', action='store_true',
                        help='join the other processes of a TPU pod or cluster, found automatically')
    parser.add_argument('--coordinator_address', metavar='HOST:PORT',
                        help='join num_processes processes at this address, as number process_id')
    parser.add_argument('--num_processes', type=int, metavar='N')
    parser.add_argument('--process_id', type=int, metavar='I')
    parser.add_argument('--wait_seconds', type=int, default=300, metavar='S',
                        help='how long the processes wait for each other at the start (default 300)')

    overrides = [argument.removeprefix('--gin.') for argument in argv if argument.startswith('--gin.')]
    others = [argument for argument in argv if not argument.startswith('--gin.')]
    flags, unknown = parser.parse_known_args(others)
    if flags.beam_options is not None:
        overrides.append(f'BEAM_OPTIONS={flags.beam_options!r}')
    if unknown and not unknown[0].startswith('-'):
        parser.error(f"'{unknown[0]}' belongs to no flag: values are joined by =, as in --gin.STEPS=5")
    if unknown:
        known = [option for action in parser._actions for option in action.option_strings]
        close = difflib.get_close_matches(unknown[0].partition('=')[0], known, n=1)
        parser.error(f"there is no flag '{unknown[0]}'{f'; did you mean {close[0]}' if close else ''}")
    if not flags.gin_file:
        parser.error('--gin_file is missing: name a run file, such as --gin_file=gin/runs/rl.gin')
    flags.workdir = flags.workdir or beside_output(overrides)
    if not flags.workdir and not flags.compile_for:
        parser.error('--workdir is missing: name the folder that results go to, such as --workdir=runs/first')
    by_address = [flags.coordinator_address, flags.num_processes, flags.process_id]
    if any(flag is not None for flag in by_address) and None in by_address:
        parser.error('--coordinator_address, --num_processes and --process_id go together; '
                     '--distributed finds all three')
    return flags, overrides


def beside_output(overrides: list[str]) -> str:
    """The folder of a run whose results are one file, or one folder; '' for neither.

    ['OUTPUT="a/b.jsonl"'] -> 'a/b.jsonl.run'; ['TARGET="a/model/"'] -> 'a/model.run'
    """
    named = _text_override('OUTPUT', overrides) or _text_override('TARGET', overrides)
    return f'{named.rstrip("/")}.run' if named else ''


def _text_override(name: str, overrides: list[str]) -> str:
    """The text that --gin.NAME gives last; '' where it gives none."""
    named = [value for key, _, value in (one.partition('=') for one in overrides) if key.strip() == name]
    try:
        found = ast.literal_eval(named[-1].strip()) if named else ''
    except (ValueError, SyntaxError):   # which reading the configuration will tell
        return ''
    return found if isinstance(found, str) else ''


def check_gin() -> None:
    """gin-config installs as `gin`, the name of our folder of gin files."""
    spec = importlib.util.find_spec('gin')
    if spec is None or spec.origin is None:
        found = f"the folder {list(spec.submodule_search_locations)[0]}" if spec else 'nothing'
        raise ValueError(f'`import gin` finds {found} instead of the package gin-config: '
                         'pip install gin-config, into the Python that runs this.')


def configure(files: list[str], overrides: list[str]):
    """Reads and checks the configuration, and gives it to gin.

    Args:
      files: gin files, later ones win.
      overrides: 'NAME=VALUE', which win over the files.

    Returns:
      (program, config): the configured function PROGRAM, and the resolved configuration as a gin text.

    Raises:
      ValueError: one sentence, with file and line, for the first fault.
    """
    check_gin()
    from mathrl import gin_files, gin_guards
    config = gin_files.read(files, overrides)
    gin_guards.check(config)
    return gin_files.load(files, overrides, config)


def start_processes(flags: argparse.Namespace) -> int:
    """Joins the other processes if the flags ask for it; returns this one's index."""
    if flags.coordinator_address is None and not flags.distributed:
        return 0
    return processes.join(flags.coordinator_address, flags.num_processes, flags.process_id, flags.wait_seconds)


def compile_steps(flags: argparse.Namespace, overrides: list[str]) -> None:
    """--compile_for: macros that name data or folders need not be set."""
    from mathrl.programs import topologies
    wanted = topologies.parse(flags.compile_for)
    topologies.set_environment()
    check_gin()
    from mathrl import gin_files
    macros = gin_files.read(flags.gin_file, overrides).macros
    root = macros['PROGRAM'].value if 'PROGRAM' in macros else None
    if isinstance(root, gin_files.Reference) and 'check' not in inspect.signature(root.target).parameters:
        raise ValueError(f'@{root.selector} has no step to compile; @pretrain.run, @sft.run and @rl.run have')
    unset = [macro.name for macro in macros.values() if macro.value == gin_files.Macro(gin_files.REQUIRED)]
    program, _ = configure(flags.gin_file, overrides + [f"{name}='not set'" for name in unset])
    from mathrl.programs import compile_check
    compile_check.run(program, wanted)


def run(argv: list[str]) -> None:
    flags, overrides = parse_flags(argv)
    if flags.compile_for:
        return compile_steps(flags, overrides)
    from etils import epath
    workdir = epath.Path(flags.workdir)
    if not flags.dry_run:
        os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(workdir / 'compilation_cache'))
    program, config = configure(flags.gin_file, overrides)
    cpu.set_flags()
    cpu.return_memory_after_compiling()
    process = start_processes(flags)
    if flags.dry_run:
        print(config, flush=True)
    else:
        workdir.mkdir(parents=True, exist_ok=True)
        if process == 0:
            (workdir / 'config.gin').write_text(config)
    program(workdir=workdir, config=config, dry_run=flags.dry_run)


def is_sentence(error: Exception) -> bool:
    """Whether the text is meant for the user: a missing file, or what our own code raises of a value, a file or a number.

    One out of a library or an operation (int('x'), a shape that does not fit) is a fault of the code.
    """
    if isinstance(error, FileNotFoundError):
        return True
    if not isinstance(error, (ValueError, OSError, FloatingPointError)):
        return False
    frame = traceback.extract_tb(error.__traceback__)[-1]
    libraries = [sysconfig.get_path(name) + os.sep for name in ('stdlib', 'purelib', 'platlib')]
    ours = os.path.dirname(os.path.abspath(__file__)) + os.sep
    if not frame.filename.startswith(ours) and any(map(frame.filename.startswith, libraries)):
        return False
    return 'raise ' in linecache.getline(frame.filename, frame.lineno)


def main() -> None:
    argv = sys.argv[1:]
    several = any(argument.split('=')[0] in ('--distributed', '--coordinator_address') for argument in argv)
    leave = processes.watched() if several else sys.exit
    try:
        run(argv)
    except Exception as error:
        gone = processes.lost(error) if several else ''
        if gone or ('--traceback' not in argv and is_sentence(error)):
            # gin appends the names of the functions that it called.
            message = gone or str(error).split('\n  In call to configurable')[0]
            print(f'error: {message}', file=sys.stderr)
            leave(processes.RESTART if gone else 2 if isinstance(error, (ValueError, FileNotFoundError)) else 1)
        if not several:
            raise
        traceback.print_exc()
        leave(1)
    except KeyboardInterrupt:
        print('stopped; the same command goes on from here', file=sys.stderr)
        leave(128 + signal.SIGINT)


if __name__ == '__main__':
    cpu.with_kept_memory()
    main()
