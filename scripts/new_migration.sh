#!/usr/bin/env bash
# Write the next migration from the difference between the tables and an up-to-date scratch database.
# Usage: scripts/new_migration.sh "What the step does"
set -euo pipefail
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
next=$(printf '%04d' $(($(find duty/store/migrations/versions -name '[0-9]*.py' | wc -l) + 1)))
.venv/bin/python - "$1" "$next" "sqlite:///$scratch/scratch.db" <<'PY'
import sys

from alembic import command

from duty.store.database import Store

message, revision, url = sys.argv[1:]
store = Store(url)
store.migrate()
command.revision(store._alembic(), message=message, autogenerate=True, rev_id=revision)
PY
file=$(ls duty/store/migrations/versions/"$next"_*.py)
sed -i 's/duty\.store\.tables\.Instant/Instant/g; s/^from alembic import op$/from alembic import op\n\nfrom duty.store.tables import Instant/' "$file"
.venv/bin/ruff check -q --fix "$file" || true
.venv/bin/ruff format -q "$file"
echo "$file"
