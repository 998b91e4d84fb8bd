# source scripts/env.sh
#
# Gives the caller a Python that has all this project needs, and the settings that make it fast. Sets ROOT.
# Takes the active `python` if it will do; otherwise makes $ROOT/.venv, once, and activates it. A .venv that it did not make
# is left as it is: the new one is then .venv-one-layer-lt, or replaces a link, never what it links to.
# ENV_NEEDS="pytest ruff": further modules that the caller's Python must have.

ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
export ROOT

_env_log() { printf 'env.sh: %s\n' "$*" >&2; }

# Does `python` have every module? Looks for them without importing them: torch alone takes seconds.
_env_active_will_do() {
    # shellcheck disable=SC2086
    python - torch fairseq numpy sacrebleu sentencepiece tensorboardX \
        babel ctranslate2 mosestokenizer num2words PIL rich safetensors sklearn subword_nmt ${ENV_NEEDS:-} >/dev/null 2>&1 <<'PY'
import sys
from importlib.util import find_spec

sys.exit(any(find_spec(name) is None for name in sys.argv[1:]))
PY
}

# Prints a Python that fairseq has a release for.
_env_find_python() {
    local python
    for python in ${PYTHON:-} python3 python python3.11 python3.12 python3.10 python3.9; do
        if "$python" -c 'import sys; sys.exit(not (3, 9) <= sys.version_info < (3, 13))' >/dev/null 2>&1; then
            echo "$python"
            return
        fi
    done
    _env_log "needs Python 3.9 to 3.12, and found none: install one, or name it: PYTHON=/path/to/python3.11"
    return 1
}

# The files that tests are run with, each with its hash: for one Python and one platform, and for processors.
_env_lock="$ROOT/requirements/test.txt"

_env_lock_fits() {
    [ -e "$_env_lock" ] && ! command -v nvidia-smi >/dev/null && "$_env_venv/bin/python" -c '
import platform, sys
here = sys.implementation.name, sys.version_info[:2], sys.platform, platform.machine(), platform.libc_ver()[0]
sys.exit(here != ("cpython", (3, 11), "linux", "x86_64", "glibc"))'
}

# What the environment was made from, and for: another setup.py or another place asks for another.
_env_key() { printf '%s %s' "$(cat "$ROOT/setup.py" "$_env_lock" 2>/dev/null | cksum | tr -s ' ' -)" "$ROOT"; }

_env_mark() { cat "$_env_venv/.ready" 2>/dev/null; }

_env_is_ready() { [ -x "$_env_venv/bin/python" ] && [ "$(_env_mark)" = "$(_env_key)" ]; }

# Was it made here? Links are followed: who wants it on another disk may link .venv to there.
_env_is_ours() { [[ "$(_env_mark)" == *" $ROOT" ]]; }

# Whether .venv is a file, or a folder with something in it and without this script's mark.
_env_is_foreign() {
    local ours='^(half-made|[0-9]+-[0-9]+ /)'
    [ -e "$_env_venv" ] && ! [[ "$(_env_mark)" =~ $ours ]] &&
        { [ ! -d "$_env_venv" ] || [ -n "$(ls -A "$_env_venv/")" ]; }
}

# Where the environment is to be: somebody else's .venv is left as it is.
_env_place() {
    _env_venv="$ROOT/.venv"
    if [ ! -L "$_env_venv" ] && _env_is_foreign; then _env_venv="$ROOT/.venv-one-layer-lt"; fi
}

# Python compiles what it imports, once. All that is installed would take pip a minute.
_env_pip() {
    if [ "$1" = install ]; then shift && set -- install --no-compile "$@"; fi
    "$_env_venv/bin/python" -m pip --disable-pip-version-check "$@"
}

_env_install_locked() {
    local locked=(install --no-deps --require-hashes -r "$_env_lock") # without torchaudio, see below
    { _env_pip "${locked[@]}" 2>/dev/null || _env_pip "${locked[@]}" --extra-index-url https://download.pytorch.org/whl/cpu; } &&
        _env_pip install --no-deps --no-build-isolation -e "$ROOT"
}

# Torch comes first: left to itself, pip would take the newest. Without an NVIDIA GPU the build for processors will do,
# at a tenth of the size; the second try names its home, for when pip's own settings do not.
_env_install() {
    if _env_lock_fits; then
        _env_install_locked && return
        if [ -n "${CI:-}" ]; then return 1; fi
        _env_log "the files of $_env_lock cannot be had, see above: taking others that setup.py allows"
    fi
    local torch=2.13.0
    if "$_env_venv/bin/python" -c 'import sys; sys.exit(sys.version_info >= (3, 10))'; then torch=2.8.0; fi
    if command -v nvidia-smi >/dev/null; then
        _env_pip install "torch==$torch" || return 1
    else
        _env_pip install "torch==$torch+cpu" 2>/dev/null ||
            _env_pip install "torch==$torch+cpu" --extra-index-url https://download.pytorch.org/whl/cpu ||
            _env_pip install "torch==$torch" || return 1
    fi
    _env_pip install "torch==$torch" -e "$ROOT[all,test]" || return 1
    # fairseq asks for torchaudio, and pip takes the build for GPUs, which fails beside a torch for processors and takes
    # with it whatever imports it. Of fairseq only speech uses it.
    _env_pip uninstall --yes torchaudio
}

# Removes what is in the way of a new environment: a link, but not its target; one of this script's own that was left
# half-made, or made elsewhere. One that is merely older is brought up to date.
_env_clear() {
    if [ -L "$_env_venv" ]; then
        if _env_is_ours || { [ -d "$_env_venv" ] && [ -z "$(ls -A "$_env_venv/")" ]; }; then return; fi
        _env_log "$_env_venv is a link to $(readlink "$_env_venv"): replacing the link; what it links to stays as it is"
        rm "$_env_venv"
    elif _env_is_foreign; then
        _env_log "$_env_venv is not of this script's making: move it away"
        return 1
    elif [ -d "$_env_venv" ] && { [ ! -x "$_env_venv/bin/python" ] || ! _env_is_ours || [[ "$(_env_mark)" == half-made* ]]; }; then
        find "$_env_venv" -mindepth 1 -maxdepth 1 ! -name .ready -exec rm -rf {} + # the mark stays, if this is interrupted
    fi
}

_env_make() {
    if _env_is_ready; then return; fi # another process made it while this one waited for the lock
    local python
    python="$(_env_find_python)" || return 1
    _env_clear || return 1
    if [ "$_env_venv" != "$ROOT/.venv" ]; then
        _env_log "$ROOT/.venv is not of this script's making, and stays as it is"
    fi
    _env_log "making $_env_venv (a few minutes, once)"
    mkdir -p "$_env_venv" && echo "half-made $ROOT" >"$_env_venv/.ready" || return 1
    "$python" -m venv "$_env_venv" || {
        _env_log "'$python -m venv' failed, see above (on Debian: apt-get install python3-venv)"
        return 1
    }
    # The official fairseq (Python 3.10 and older) has metadata that pip refuses from 24.1 on.
    if "$_env_venv/bin/python" -c 'import sys; sys.exit(sys.version_info >= (3, 11))'; then
        _env_pip install 'pip<24.1' || return 1
    fi
    if ! _env_install; then
        _env_log "installing failed, see above; running this again goes on from there"
        return 1
    fi
    _env_key >"$_env_venv/.ready.new" && mv "$_env_venv/.ready.new" "$_env_venv/.ready" || return 1 # last: ready means complete
    _env_log "made $_env_venv"
}

_env_allocator() {
    # Large tensors that the C library maps and unmaps at every step cost a third of the time.
    local library
    for library in /usr/lib/*-linux-gnu/libtcmalloc_minimal.so.4 /usr/lib{64,,/local/lib}/libtcmalloc_minimal.so.4; do
        if [ -e "$library" ]; then
            case ":${LD_PRELOAD:-}:" in
                *tcmalloc*) ;;
                *) export LD_PRELOAD="$library${LD_PRELOAD:+:$LD_PRELOAD}" ;;
            esac
            return
        fi
    done
    export MALLOC_MMAP_MAX_="${MALLOC_MMAP_MAX_:-0}" MALLOC_TRIM_THRESHOLD_="${MALLOC_TRIM_THRESHOLD_:-1099511627776}"
}

_env_main() {
    if ! _env_active_will_do; then
        _env_place
        if ! _env_is_ready; then
            (
                if command -v flock >/dev/null && ! flock -n 9; then
                    _env_log "waiting for another process that is making $_env_venv"
                    flock 9
                fi
                _env_make
            ) 9>"$ROOT/.venv.lock" || return 1
        fi
        export VIRTUAL_ENV="$_env_venv" PATH="$_env_venv/bin:$PATH"
        hash -r
    fi
    case ":${PYTHONPATH:-}:" in
        *":$ROOT:"*) ;;
        *) export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}" ;;
    esac
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)}"
    # Threads that spin while they wait starve one another as soon as anything else runs on the machine.
    export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-10000}"
    _env_allocator
}

_env_main
_env_status=$?
unset _env_venv _env_lock
unset -f _env_log _env_active_will_do _env_find_python _env_key _env_mark _env_is_ready _env_is_ours _env_is_foreign \
    _env_place _env_pip _env_install _env_install_locked _env_lock_fits _env_clear _env_make _env_allocator _env_main
(exit $_env_status) # what `source` returns
