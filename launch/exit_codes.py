"""What the exit code of a run means, and when it is started again."""

import random
import signal

RESTART = 75                # EX_TEMPFAIL: stopped in order, and goes on when started again
USER_ERROR = 2              # one sentence on what the user gave: starting again changes nothing
SSH_LOST = 255
FIRST_WAIT, LONGEST_WAIT = 2.0, 300.0     # seconds
MAX_RESTARTS = 10


def signal_of(code: int) -> signal.Signals | None:
    """The signal that ended a process: -9 and the shell's 137 -> SIGKILL."""
    number = -code if code < 0 else code - 128
    return signal.Signals(number) if number in set(signal.Signals) else None


def starts_again(code: int) -> bool:
    """Whether the run was stopped from outside: it said so, or was killed, as machines do that are taken away."""
    return code == RESTART or signal_of(code) in (signal.SIGKILL, signal.SIGTERM)


def meaning(code: int) -> str:
    """'ended with exit code 75 (start again)', 'was killed by SIGKILL (also what a machine out of memory does)'."""
    if code == RESTART:
        return f'ended with exit code {code} (start again)'
    if code == USER_ERROR:
        return f'ended with exit code {code} (its last line says what was wrong in what was given)'
    if code == 1:
        return 'ended with exit code 1 (an error of the program)'
    name = signal_of(code)
    if name is None:
        return f'ended with exit code {code}'
    known = {signal.SIGKILL: ' (also what a machine out of memory does)', signal.SIGABRT: ' (a library gave up)',
             signal.SIGINT: ' (stopped from the keyboard)'}
    return f'was killed by {name.name}{known.get(name, "")}'


def wait_seconds(restart: int) -> float:
    """How long to wait before restart number 1, 2, ...: about 2, 4, 8 s and so on up to five minutes."""
    return min(LONGEST_WAIT, FIRST_WAIT * 2 ** (restart - 1)) * random.uniform(0.8, 1.2)
