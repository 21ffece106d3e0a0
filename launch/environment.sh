#!/usr/bin/env bash
# Makes .venv at the repository root and installs mathrl into it, held to the lock of its Python.
# Usage: launch/environment.sh [EXTRA]      EXTRA is an extra of setup.py (test, mining, ...); none: the base alone.
# PYTHON names the interpreter (default python3). uv is used where it is on the PATH, else pip.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
extra="${1:-}"
python="${PYTHON:-python3}"
venv_python=.venv/bin/python

fail() { echo "error: $1" >&2; exit 2; }

minor_version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

if ! "$venv_python" -c '' 2>/dev/null; then
  version="$(minor_version "$python" 2>/dev/null)" || fail "'$python' does not run, and Python 3.11 or 3.12 is needed: install one, or name it by PYTHON=/path/to/python3.12."
  case "$version" in
    3.11 | 3.12) ;;
    *) fail "'$python' is Python $version, and 3.11 or 3.12 is needed: name one by PYTHON=/path/to/python3.12." ;;
  esac
  echo "Making .venv with Python $version" >&2
  if command -v uv >/dev/null; then
    uv venv --quiet --clear --python "$("$python" -c 'import sys; print(sys.executable)')" .venv
  else
    "$python" -m venv --clear .venv
  fi
fi

version="$(minor_version "$venv_python")"
lock="launch/constraints/py${version/./}.txt"
[ -f "$lock" ] || fail ".venv holds Python $version, and 3.11 or 3.12 is needed: remove .venv, or name one by PYTHON=/path/to/python3.12."

# The stamp says what was installed: these two files, from this folder. A larger install covers the base.
stamp="$("$venv_python" - setup.py "$lock" <<'PY'
import hashlib, os, sys
print(hashlib.sha256(os.getcwd().encode() + b''.join(open(path, 'rb').read() for path in sys.argv[1:])).hexdigest())
PY
)"
installed=".venv/installed-${extra:-base}"
if [ "$(cat "$installed" 2>/dev/null)" = "$stamp" ]; then
  exit 0
fi

rm -f .venv/installed-*
target="${extra:+.[$extra]}"
target="${target:-.}"
echo "Installing $target with $lock (minutes the first time)" >&2
if command -v uv >/dev/null; then
  uv pip install --quiet --python "$venv_python" -c "$lock" -e "$target"
else
  "$venv_python" -m pip --version >/dev/null 2>&1 || "$venv_python" -m ensurepip --upgrade >/dev/null
  "$venv_python" -m pip install --quiet -c "$lock" -e "$target"
fi
echo "$stamp" >"$installed"
echo "$stamp" >.venv/installed-base
