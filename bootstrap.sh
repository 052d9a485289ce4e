#!/bin/sh
# Start a worker: check the GPU, find or build the Python environment, then `exec python handler.py`,
# which pulls the weights.
#
#   bootstrap.sh [--OPTION...]       run the job handler, with these options; if HIGGS_SERVE is http,
#                                    run the HTTP server instead
#   bootstrap.sh serve [ARG...]      run the HTTP server
#   bootstrap.sh COMMAND [ARG...]    run any other command of higgs-worker: doctor, say ...
#   bootstrap.sh install DIRECTORY   only build the environment, in that directory
#
# The environment is a venv. Its name is a hash of everything that decides its content. The script
# looks beside itself (an environment baked into the image), then on the volume, where the first
# worker builds it for all. It is built under a temporary name and renamed when it is complete, so
# that nobody uses half an environment. The lock only saves the others the same work: correctness
# does not depend on it. Between a look at a path and its removal, another worker may have put
# something new there. So what is removed either has a name that is never used again, or is renamed
# to one and looked at once more.
#
# Variables: HIGGS_VOLUME, HIGGS_DEVICE, HIGGS_SERVE, HIGGS_HOST, PORT and PORT_HEALTH as in
# docs/settings.md; PIP_FIND_LINKS (a folder of local wheels); uv's own UV_*; and BOOTSTRAP_STALE_S
# (60): seconds without a sign of life after which a lock's holder counts as dead.

set -eu
umask 022

INSTALL_LIMIT_S=1800   # three gigabytes at 2 MB/s
LEFTOVER_MIN=60        # twice that limit: the worker that was building it is dead
UNUSED_MIN=2880        # two days: workers of the previous release run no longer than that
DIRECTORIES="bosonai environments kernels voices"   # where a worker writes on the volume
WORKER=higgs           # the user that root becomes, if it exists

started_at=$(date +%s)
lock=''
new=''
child=''

say() {
    echo "bootstrap: $*" >&2
}

die() {
    say "error: $*"
    exit 1
}

# --- Exit: remove the lock and half an environment -----------------------------------------------

# A name that no worker has used or will use.
unique() {
    cat /proc/sys/kernel/random/uuid
}

# Remove one holder's mark from a lock, then the lock; if it holds another mark, rmdir leaves it.
unlock() {
    rmdir "$1" "${1%/*}" 2>/dev/null || :
}

release() {
    [ -z "$lock" ] || unlock "$lock/$mark"
    [ -z "$new" ] || rm -rf "$new"
    lock=''
    new=''
}

stop() {
    trap '' TERM INT
    say "stopped by a signal"
    if [ -n "$child" ] && kill "$child" 2>/dev/null; then
        wait "$child" || :
    fi
    exit "$1"
}

trap release EXIT
trap 'stop 130' INT
trap 'stop 143' TERM

# Run a command in the background, so that traps run at once, and refresh the lock meanwhile. A
# worker that is killed or frozen no longer refreshes it.
run() {
    "$@" &
    child=$!
    while kill -0 "$child" 2>/dev/null; do
        [ -z "$lock" ] || touch -c "$lock/$mark"
        sleep 0.03
    done
    status=0
    wait "$child" || status=$?
    child=''
    return "$status"
}

# --- Paths and the environment's name ------------------------------------------------------------

# The same rule as in higgs_worker/settings.py.
find_volume() {
    mounted=yes
    if [ -n "${HIGGS_VOLUME:-}" ]; then
        volume=$HIGGS_VOLUME
    elif [ -d /runpod-volume ]; then
        volume=/runpod-volume
    else
        mounted=''
        volume=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/higgs
    fi
}

# Everything that decides the content: the locked versions, the dependencies, and the interpreter.
environment_key() {
    python3 -c '
import hashlib, pathlib, sys, sysconfig, tomllib
project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]
parts = [pathlib.Path("requirements.lock").read_text(), *sorted(project["dependencies"]),
         sys.implementation.cache_tag, sysconfig.get_platform(), sys.base_prefix]
print(hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16])'
}

# Print what decides which code an environment runs: its interpreter, the packages that are there,
# what Python runs before anything else (*.pth), and what each package consists of (RECORD). Shared
# libraries are listed with their sizes, because a cut one ends the process without a word. That is
# some 300 files instead of 30,000, since a network volume may need a millisecond for each.
contents() (
    cd "$1" && cat pyvenv.cfg && readlink bin/python && cd lib/python3*/site-packages || exit
    export LC_ALL=C  # sorts alike everywhere
    ls -A -I __pycache__
    sha256sum ./*.pth ./*.py ./*.dist-info/RECORD || :  # one of these may match nothing
    sed -n '/\.so[.0-9]*,/s/,.*//p' ./*.dist-info/RECORD | xargs -d '\n' -r stat -L -c '%s %n'
) 2>/dev/null

# Compare the environment with what was installed, before anything of it runs. That finds an accident
# and what was installed into it since, but not everything that somebody who can write to the volume
# could do: .complete lies there too.
is_complete() {
    [ -f "$1/.complete" ] && contents "$1" | cmp -s - "$1/.complete" && "$1/bin/python" -c '' 2>/dev/null
}

free_gb() {
    df -Pk "$1" | awk 'NR == 2 { printf "%.1f", $4 / 1048576 }'
}

# --- The user: not root, if the volume allows it -------------------------------------------------

as_worker() {
    exec setpriv --reuid="$WORKER" --regid="$WORKER" --init-groups --inh-caps=-all \
        --no-new-privs "$@"
}

step_down() {
    [ "$(id -u)" = 0 ] && id "$WORKER" >/dev/null 2>&1 || return 0
    if ! (as_worker true 2>/dev/null); then
        say "staying root: this container is not allowed to change users"
        return
    fi
    if [ -n "$mounted" ]; then
        mkdir -p "$volume" 2>/dev/null || :  # a failure is reported where the volume is used
        for name in $DIRECTORIES; do
            if mkdir "$volume/$name" 2>/dev/null; then
                chown "$WORKER:" "$volume/$name" 2>/dev/null || :  # the test below sees a failure
            fi
            if [ -w "$volume/$name" ] && ! (as_worker test -w "$volume/$name"); then
                say "staying root: only root can write $volume/$name"
                return
            fi
        done
    fi
    HOME=$(getent passwd "$WORKER" | cut -d: -f6)
    export HOME
    as_worker "$app/bootstrap.sh" "$@"
}

# --- The HTTP server -----------------------------------------------------------------------------

# Succeed if the command line's words ask for it, or, where they leave that open, HIGGS_SERVE.
is_to_serve_http() {
    case ${1:-} in
    serve) return ;;
    '' | -*) [ "$(echo "${HIGGS_SERVE:-}" | tr '[:upper:]' '[:lower:]')" = http ] ;;
    *) return 1 ;;
    esac
}

# Answer on the health port from now on: to a load balancer, silence means a broken worker, and an
# install takes a minute. This process becomes Python for an instant, and then this script again.
answer_early() {
    exec python3 -I "$app/higgs_worker/http/early_ping.py" \
        "$HIGGS_HOST" "${PORT_HEALTH:-${PORT:-80}}" "$app/bootstrap.sh" "$@"
}

# --- The GPU -------------------------------------------------------------------------------------

check_gpu() {
    device=${HIGGS_DEVICE:-auto}
    [ "$device" != cpu ] || return 0
    if ! command -v nvidia-smi >/dev/null; then
        [ "$device" = auto ] || die "HIGGS_DEVICE is $device, but the container sees no GPU" \
            "(no nvidia-smi): give the endpoint a GPU, or unset HIGGS_DEVICE"
        say "no GPU here (no nvidia-smi): computing on the CPU, far slower than real time"
        return
    fi
    if ! gpus=$(timeout 60 nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader); then
        die "nvidia-smi fails ($gpus): the GPU or its driver is broken; end this worker to get" \
            "another machine, or set HIGGS_DEVICE=cpu"
    fi
    echo "$gpus" | while read -r gpu; do say "GPU: $gpu"; done
    offered=$(timeout 60 nvidia-smi | sed -n 's/.*CUDA[A-Za-z ]* Version: *\([0-9.]*\).*/\1/p' | head -n 1)
    needed=$(sed -n 's/^cuda-toolkit==\([0-9]*\.[0-9]*\).*/\1/p' requirements.lock)
    # Within one major version, an older driver can run newer libraries.
    if [ -n "$offered" ] && [ "${offered%%.*}" -lt "${needed%%.*}" ]; then
        die "the driver here offers CUDA $offered, but the locked torch needs $needed: restrict the" \
            "endpoint to machines with CUDA ${needed%%.*}.0 or newer (gpu.minCudaVersion)," \
            "or set HIGGS_DEVICE=cpu"
    fi
}

# --- The environment -----------------------------------------------------------------------------

# Remove a directory for a reason, which is a function of its path. It is renamed first, so that
# nobody sees it half removed; then the reason must still hold.
discard() {
    gone=$root/.gone.$(unique)
    mv -T "$1" "$gone" 2>/dev/null || return 0  # another worker was faster
    if ! "$2" "$gone" && mv -T "$gone" "$1" 2>/dev/null; then
        return
    fi
    rm -rf "$gone" || say "not all of $gone could be removed"
}

# Succeed if a path was last changed more than this many minutes ago.
is_older() {
    [ -n "$(find "$1" -prune -mmin "+$2" 2>/dev/null)" ]
}

# The reasons to discard something.
is_left_over() { is_older "$1" "$LEFTOVER_MIN"; }
is_unused() { is_older "$1/.complete" "$UNUSED_MIN"; }
is_incomplete() { ! is_complete "$1"; }
is_of_the_dead() { :; }  # its name says so

sweep() {
    for each in "$root"/.gone.* "$root"/.new.*; do
        if is_left_over "$each"; then
            say "removing what a dead worker left: $each"
            discard "$each" is_left_over
        fi
    done
    for each in "$root"/*.lock/*; do
        ! is_left_over "$each" || unlock "$each"
    done
    rmdir "$root"/*.lock 2>/dev/null || :  # those that hold no mark
    for each in "$root"/*/.complete; do
        each=${each%/*}
        if [ "$each" != "$root/$key" ] && is_unused "$each"; then
            say "removing an environment that no worker has used for two days: $each"
            discard "$each" is_unused
        fi
    done
}

# Acquire the lock; fail if another worker has it. The lock is a directory that holds the mark of
# one claim. It is renamed into place with its mark: that fails where a lock holds another, and
# replaces one that holds none, which is nobody's.
claim() {
    mark=$(unique)
    new=$root/.new.$key.$mark
    lock=$root/$key.lock
    if ! { mkdir -p "$new/lock/$mark" && mv -T "$new/lock" "$lock"; } 2>/dev/null; then
        release
        return 1
    fi
}

# Check that every file the installer recorded is there, in its size. A volume can lose data that it
# accepted.
verify='
import sys
from importlib.metadata import distributions
wrong, count = [], 0
for each in distributions():
    for file in each.files or []:
        if file.size is not None:
            count += 1
            path = each.locate_file(file)
            if not path.is_file() or path.stat().st_size != file.size:
                wrong.append(str(path))
if wrong or not count:
    sys.exit(f"{len(wrong)} of {count} files are damaged: {wrong[:3]}")
print(f"bootstrap: verified {count} files", file=sys.stderr)'

# The cache is on the same disk as the environment, so that uv links files instead of copying them.
run_uv() {
    run env UV_CACHE_DIR="$new/cache" UV_NO_CONFIG=1 UV_PYTHON_DOWNLOADS=never \
        PYC_INVALIDATION_MODE=UNCHECKED_HASH timeout "$INSTALL_LIMIT_S" uv "$@"
}

build() {
    python=$new/env/bin/python
    run_uv venv --quiet --no-project --relocatable --python "$(command -v python3)" "$new/env" &&
        run_uv pip install --python "$python" --no-build --compile-bytecode \
            ${PIP_FIND_LINKS:+--find-links "$PIP_FIND_LINKS"} \
            --constraints requirements.lock --requirements pyproject.toml &&
        run_uv pip check --quiet --python "$python" &&
        run "$python" -c "$verify" &&
        contents "$new/env" >"$new/env/.complete" &&
        run sync -f "$new/env/.complete" &&  # some volumes report only here that they are full
        { mv -T "$new/env" "$root/$key" 2>/dev/null || is_complete "$root/$key"; }
}

# Print why the environment could not be built, and what to do.
why_not() {
    probe=$root/.gone.$(unique)
    if (dd if=/dev/zero of="$probe" bs=1M count=256 conv=fsync && rm "$probe") 2>/dev/null; then
        echo "the environment could not be installed; the lines above say why. It needs about 7 GB" \
            "with CUDA ($(free_gb "$root") GB are free in $root) and a connection to the package index"
    elif rm -f "$probe" && [ -w "$root" ]; then
        echo "$root is full; the environment needs about 7 GB with CUDA: enlarge the volume," \
            "remove files from it, or use the image with the environment baked in"
    else
        echo "$root cannot be written by user $(id -u): mount a volume that this user can write, set" \
            "HIGGS_VOLUME to such a directory, or use the image with the environment baked in"
    fi
}

build_under_lock() {
    # The last holder may have completed it after this worker had looked.
    ! is_complete "$root/$key" || return 0
    if [ -e "$root/$key" ]; then
        say "replacing $root/$key, which is not what was installed:" \
            "$(contents "$root/$key" | diff "$root/$key/.complete" - | grep '^[<>]' | head -n 3)"
        run discard "$root/$key" is_incomplete
    fi
    for each in "$root/.new.$key".*; do
        [ "$each" = "$new" ] || run discard "$each" is_of_the_dead  # only the holder builds
    done
    say "installing the environment $key into $root ($(free_gb "$root") GB free)"
    build_started_at=$(date +%s)
    if build; then
        say "installed in $(($(date +%s) - build_started_at)) s"
    elif [ -d "$lock/$mark" ] && [ -d "$new" ]; then
        die "$(why_not)"
    else
        say "this worker was frozen for so long that another took over"
    fi
}

# One worker builds the environment, and the others wait. A holder that no longer refreshes the lock
# is dead. The waiting worker measures that by its own clock, because two machines' clocks differ.
build_once() {
    command -v uv >/dev/null ||
        die "uv is missing, and it installs the environment: the image has it; elsewhere, run" \
            "pip install --require-hashes -r requirements-uv.lock"
    seen=''
    silent=0
    waited=0
    until is_complete "$root/$key"; do
        if [ -z "$(ls -A "$root/$key.lock" 2>/dev/null)" ] && claim; then
            build_under_lock
            release
            continue
        fi
        # The listing names the lock's holder and the time of the last refresh.
        listing=$(ls -lA --time-style=full-iso "$root/$key.lock" 2>/dev/null || :)
        if [ "$listing" != "$seen" ]; then
            seen=$listing
            silent=0
        elif [ -z "$listing" ] && [ "$silent" -ge 4 ]; then
            die "$(why_not)"  # there is no lock, and this worker cannot create one
        elif [ "$silent" -ge $((2 * ${BOOTSTRAP_STALE_S:-60})) ]; then
            say "the worker that was installing is dead: taking over"
            stale=$root/$key.lock/${seen##* }
            unlock "$stale"
            [ ! -e "$stale" ] ||
                die "user $(id -u) cannot remove the lock of a dead worker: remove $root/$key.lock"
            silent=0
            continue
        fi
        [ $((waited % 30)) -ne 0 ] || say "waiting for the worker that installs the environment"
        silent=$((silent + 1))
        waited=$((waited + 1))
        sleep 0.5
    done
}

find_environment() {
    key=$(environment_key)
    environment=$app/environments/$key
    is_complete "$environment" && return
    root=$volume/environments
    environment=$root/$key
    mkdir -p "$root" 2>/dev/null || [ -d "$root" ] || die "$(why_not)"
    # Before the look: a worker that finds it unused looks again when it has taken it away. A volume
    # mounted read-only is fine.
    touch -c "$environment/.complete" 2>/dev/null || :
    sweep
    is_complete "$environment" || build_once
}

check_volume() {
    for name in $DIRECTORIES; do
        if ! mkdir -p "$volume/$name" 2>/dev/null || [ ! -w "$volume/$name" ]; then
            say "volume: user $(id -u) cannot write $volume/$name, so nothing can be kept there:" \
                "mount a volume that this user can write, or set HIGGS_VOLUME to such a directory"
            return
        fi
    done
    say "volume: $volume ($(free_gb "$volume") GB free)"
}

# --- Main ----------------------------------------------------------------------------------------

app=$(cd "$(dirname "$0")" && pwd)
cd "$app"

if [ "${1:-}" = install ]; then
    [ $# = 2 ] || die "the directory is missing: bootstrap.sh install DIRECTORY"
    key=$(environment_key)
    root=$2
    mkdir -p "$root"
    build_once
    exit
fi

find_volume
step_down "$@"
if is_to_serve_http "$@"; then
    [ "${1:-}" = serve ] || set -- serve "$@"
    export HIGGS_HOST="${HIGGS_HOST:-0.0.0.0}"  # a container has a network of its own
    [ -n "${HIGGS_EARLY_PING:-}" ] || answer_early "$@"
fi
check_gpu
find_environment
say "environment: $environment"
check_volume

case ${1:-} in
'' | -*) set -- handler.py "$@" ;;
*) set -- -m higgs_worker "$@" ;;
esac
export HIGGS_STARTED_AT="$started_at"
exec "$environment/bin/python" "$@"
