#!/usr/bin/env bash
# bash scripts/test.sh [PYTEST OPTIONS]: sets up, once, and runs the tests.
ENV_NEEDS="pytest hypothesis mktestdocs xdist playwright ${ENV_NEEDS:-}"
source "$(dirname -- "${BASH_SOURCE[0]}")/env.sh" || exit
cd "$ROOT" || exit
export OMP_NUM_THREADS=1 # a process a core, not threads
# In their order: xdist would put files of one test last, and these take longest.
exec python -m pytest -n auto --dist loadfile --no-loadscope-reorder tests/ "$@"
