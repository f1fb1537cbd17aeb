#!/bin/sh
# Resolve pyproject.toml into hashed locks. Pins already in a lock stay unless --upgrade is given.
# usage: lock.sh UV [--upgrade]
set -eu
uv=$1
shift

compile() {
    lock=$1
    shift
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-header --no-annotate --no-emit-index-url --output-file "requirements/$lock.lock" "$@"
}

# Each lock is held to the one before it, so that no package has two pins.
compile runtime "$@" --constraints requirements/constraints.in --extra postgres pyproject.toml
compile dev "$@" --extra postgres --extra peers --extra dev --constraints requirements/runtime.lock pyproject.toml
compile build "$@" --constraints requirements/dev.lock requirements/build.in
