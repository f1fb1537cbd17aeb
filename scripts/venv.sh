#!/bin/sh
# Make the virtual environment, or say in one sentence why it cannot be made.
# usage: venv.sh PYTHON DIRECTORY
set -eu
python=$1
directory=$2

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "dutyline needs Python 3.11 or newer; name one with: make PYTHON=python3.12" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    # Debian splits these modules off; without root only the administrator can add them.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends python3-venv
    else
        echo "Python's venv module is missing; install it first (Debian, Ubuntu: apt install python3-venv)" >&2
        exit 1
    fi
fi
"$python" -m venv "$directory"
