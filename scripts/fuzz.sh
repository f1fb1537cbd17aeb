#!/bin/sh
# Fuzz every target of tests/fuzz for an equal part of SECONDS: scripts/fuzz.sh SECONDS [PYTHON].
# The corpus grows in build/fuzz/corpus and is used again; what fails lies in build/fuzz/crashes, and the exit is 1.
set -eu

seconds=${1:?usage: scripts/fuzz.sh SECONDS [PYTHON]}
cd "$(dirname "$0")/.."
python=${2:-.venv/bin/python}
root=build/fuzz
mkdir -p "$root/crashes" "$root/logs"

set -- tests/fuzz/fuzz_*.py
share=$((seconds / $#))
[ "$share" -ge 1 ] || { echo "at least $# seconds are needed, one for each target" >&2; exit 2; }

failed=0
for target in "$@"; do
    name=$(basename "$target" .py)
    name=${name#fuzz_}
    log=$root/logs/$name.log
    mkdir -p "$root/corpus/$name"
    if nice -n 15 "$python" -m "tests.fuzz.fuzz_$name" "$root/corpus/$name" -max_total_time="$share" \
        -artifact_prefix="$root/crashes/$name-" -print_final_stats=1 -verbosity=1 >"$log" 2>&1; then
        verdict=ok
    else
        verdict=FAILED
        failed=1
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
    features=$(sed -n 's/.* cov: \([0-9]*\) ft: \([0-9]*\) .*/\1 branches, \2 features/p' "$log" | tail -n 1)
    printf '%-10s %-6s %10s inputs, %s\n' "$name" "$verdict" "${runs:-?}" "${features:-?}"
    [ "$verdict" = ok ] || grep -A 25 -m 1 'Uncaught Python exception\|ERROR: libFuzzer' "$log" || tail -n 25 "$log"
done
exit "$failed"
