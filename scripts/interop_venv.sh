#!/bin/sh
# Foreign SIP programs that come from PyPI, in an environment of their own: nothing of theirs is imported by ours.
# Without them their tests are skipped. usage: interop_venv.sh VENV_PYTHON FOLDER
set -eu
python=$1
folder=$2
wanted="sippy==2.5.0"

[ "$(cat "$folder/installed" 2>/dev/null)" = "$wanted" ] && exit 0
"$python" -m venv "$folder"
"$folder/bin/python" -m pip --disable-pip-version-check install --quiet $wanted
echo "$wanted" >"$folder/installed"
