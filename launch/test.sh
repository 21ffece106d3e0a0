#!/usr/bin/env bash
# The test suite in the quickstart's environment.
# Usage: launch/test.sh [--slow] [what pytest takes]
#   --slow adds the tests marked slow; `launch/test.sh --slow -m slow` runs those alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
marks=(-m "not slow")
if [ "${1:-}" = --slow ]; then
  marks=()
  shift
fi

bash launch/environment.sh test
# A later -m wins over an earlier one.
exec .venv/bin/python -m pytest ${marks[@]+"${marks[@]}"} "$@"
