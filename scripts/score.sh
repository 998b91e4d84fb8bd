#!/usr/bin/env bash
# bash scripts/score.sh CHECKPOINT_OR_FOLDER --data DATA [...]: one-layer-lt score, with all it needs set up.
source "$(dirname -- "${BASH_SOURCE[0]}")/env.sh" || exit
exec python -m one_layer_lt score "$@"
