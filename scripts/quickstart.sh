#!/usr/bin/env bash
# bash scripts/quickstart.sh: from nothing to a translator made of masks alone, in about ten minutes on two cores.
#
# Sets up a Python of its own, prepares a small corpus (English numbers, dates and quantities into German), trains with
# every matrix random and masked, translates the test set and prints what came of it. A second run reuses what is there.
# The dense Transformer that the result stands beside: python scripts/sweep.py scripts/studies/quickstart.toml dense
set -eo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/env.sh"
cd "$ROOT"
bash data_prep/numbers.sh --out data-bin/numbers.en-de
exec python -m scripts.quickstart "$@"
