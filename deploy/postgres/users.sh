#!/bin/sh
# Creates the database users, or updates their passwords from the secrets.
set -eu
PGPASSWORD=$(cat "${SECRETS_DIR:-/run/secrets}/postgres_pw")
export PGPASSWORD
exec psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --file "$(dirname "$0")/users.sql"
