#!/usr/bin/env bash
# bash data_prep/multi30k.sh --help
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$here/scripts/env.sh"
PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" exec python -m data_prep.multi30k "$@"
