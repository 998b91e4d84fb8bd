#!/usr/bin/env bash
# bash scripts/score.sh CHECKPOINT_OR_FOLDER --data DATA [...]: score.py, with all it needs set up.
source "$(dirname -- "${BASH_SOURCE[0]}")/env.sh" || exit
exec python "$ROOT/scripts/score.py" "$@"
