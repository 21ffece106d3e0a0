#!/usr/bin/env bash
# From a clean clone to a GRPO run that learns: makes .venv, then runs gin/quickstart/quickstart.gin.
# Usage: launch/quickstart.sh [--workdir DIR] [what python -m mathrl.main takes, such as --gin.SEED=1]
# The same command again goes on where it stopped. DIR is runs/quickstart if not given.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
workdir="$root/runs/quickstart"
rest=()
while [ $# -gt 0 ]; do
  case "$1" in
    --workdir)
      [ $# -ge 2 ] || { echo "error: --workdir needs a folder: --workdir DIR." >&2; exit 2; }
      workdir="$2"
      shift 2
      ;;
    --workdir=*)
      workdir="${1#--workdir=}"
      shift
      ;;
    *)
      rest+=("$1")
      shift
      ;;
  esac
done

bash "$root/launch/environment.sh"
# A model this small gains nothing from an accelerator; JAX_PLATFORMS=tpu (or cuda) runs it on one all the same.
export JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}"
exec "$root/.venv/bin/python" -m mathrl.main --gin_file="$root/gin/quickstart/quickstart.gin" \
  --workdir="$workdir" ${rest[@]+"${rest[@]}"}
