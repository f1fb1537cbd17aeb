#!/bin/sh
# The peers that the signalling bench measures beside this program, in a virtual environment of their own.
# usage: bench_peers.sh directory python
set -eu
directory=$1
wanted="sippy==2.5.0 aiosipua==0.7.0"
[ "$(cat "$directory/.wanted" 2>/dev/null)" != "$wanted" ] || exit 0
[ -x "$directory/bin/python" ] || "$2" -m venv "$directory"
"$directory/bin/python" -m pip install -q $wanted
echo "$wanted" >"$directory/.wanted"
