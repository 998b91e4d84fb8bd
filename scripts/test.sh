#!/usr/bin/env bash
# bash scripts/test.sh [PYTEST OPTIONS]: sets up, once, and runs the tests.
ENV_NEEDS="pytest hypothesis ${ENV_NEEDS:-}"
source "$(dirname -- "${BASH_SOURCE[0]}")/env.sh" || exit
cd "$ROOT" || exit
exec python -m pytest tests/ "$@"
