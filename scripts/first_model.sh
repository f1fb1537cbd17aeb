#!/bin/sh
# A fresh machine gets one speech model. Failing is no reason not to answer the phone: recordings wait for a model.
# usage: first_model.sh DUTYLINE
set -eu
dutyline=$1

[ -z "$("$dutyline" models list --installed 2>/dev/null)" ] || exit 0
echo "no speech model yet: fetching whisper-base (about 140 MB, once)"
if ! "$dutyline" models fetch whisper-base; then
    echo "the model could not be fetched; recordings wait until one is installed:" >&2
    echo "  $dutyline models fetch whisper-base    or    $dutyline models add FILE" >&2
fi
