#!/usr/bin/env bash
# bash scripts/wheel.sh: builds the wheel, installs it into a fresh environment outside the clone, and tries it there:
# bare, then with the extra `translate`, then with `fairseq`. What each must do stands in tests/wheel/.
set -eo pipefail
root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH
mkdir "$work/source" # a copy: setuptools leaves folders where it builds
git -C "$root" ls-files -z | (cd "$root" && xargs -0 cp --parents -t "$work/source")
python -m pip wheel --quiet --no-deps --wheel-dir "$work" "$work/source"
wheel="$(echo "$work"/one_layer_lt-*.whl)"
python -m venv "$work/env"
export PATH="$work/env/bin:$PATH"
pip() { "$work/env/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }
pip install --no-compile "torch==2.13.0" # compiling what is never imported takes most of the time; plain `torch` would bring gigabytes for GPUs
# Nothing but a download of a corpus may need a network: where the system can, there is none.
offline="unshare --map-root-user --net"
$offline true 2>/dev/null || offline=""
cd "$work"
for extra in "" translate fairseq; do
    pip install --no-compile "$wheel${extra:+[$extra]}"
    pip uninstall --yes torchaudio 2>/dev/null || true # fairseq asks for it and does not use it
    $offline "$work/env/bin/python" "$root/tests/wheel/${extra:-bare}.py"
    echo "wheel.sh: the wheel works: ${extra:-bare}${offline:+, without a network}"
done
