#!/bin/sh
# Install one lock and then the project, editable. Index, mirror and certificates are those of the user's own pip.
# usage: install.sh VENV_PYTHON runtime|dev
set -eu
python=$1
lock=$2

pip() { "$python" -m pip --disable-pip-version-check "$@"; }

# Build tools come first and from their own lock: with isolation switched off no build fetches anything unhashed.
pip install --quiet --require-hashes -r requirements/build.lock
pip install --quiet --require-hashes --no-build-isolation -r "requirements/$lock.lock"
pip install --quiet --no-deps --no-build-isolation --editable .
