# source data_prep/lib/recipe.sh: a recipe's script does what the Python module of its name does, with all it needs set up.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
source "$here/scripts/env.sh"
PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" exec python -m "data_prep.$(basename "$0" .sh)" "$@"
