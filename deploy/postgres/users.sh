#!/bin/sh
# Makes the users of the ledger's database, or gives them the passwords that the secrets have now.
set -eu
PGPASSWORD=$(cat "${SECRETS_DIR:-/run/secrets}/postgres_pw")
export PGPASSWORD
exec psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --file "$(dirname "$0")/users.sql"
