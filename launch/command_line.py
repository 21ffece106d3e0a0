"""How the two commands speak and end: no secret is printed, a fault is one sentence, SIGTERM ends the processes first."""
import signal
import sys
from collections.abc import Callable

from launch import exit_codes, secret_values


def say(line: str) -> None:
    print(secret_values.redact(line), flush=True)


def run(main: Callable[[list[str]], int], interrupted: str = '') -> None:
    """Exits with main's code; `interrupted` is said when the keyboard stopped it."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        sys.exit(main(sys.argv[1:]))
    except ValueError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(exit_codes.USER_ERROR)
    except KeyboardInterrupt:
        if interrupted:
            print(interrupted, file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def _stop(number, _) -> None:
    raise SystemExit(128 + number)
