#!/bin/sh
# Runs Debian's PostgreSQL like the postgres image, as far as docker-compose.yml needs it.
set -eu
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
data=/var/lib/postgresql/data/server
user=${POSTGRES_USER:-postgres}
as() {
    setpriv --reuid=postgres --regid=postgres --clear-groups "$@"
}
if [ ! -s "$data/PG_VERSION" ]; then
    install --directory --owner postgres --group postgres --mode 700 /var/lib/postgresql/data "$data"
    as initdb -D "$data" -U "$user" --pwfile="$POSTGRES_PASSWORD_FILE" --auth=scram-sha-256 -E UTF8 --locale=C >/dev/null
    echo "host all all all scram-sha-256" >>"$data/pg_hba.conf"
    echo "CREATE DATABASE $POSTGRES_DB" | as postgres --single -D "$data" postgres >/dev/null
fi
exec setpriv --reuid=postgres --regid=postgres --clear-groups postgres -D "$data" -h '*' -k /tmp
