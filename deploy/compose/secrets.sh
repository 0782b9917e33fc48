#!/bin/sh
# Makes the secrets that docker-compose.yml mounts, as far as they are not there: deploy/compose/secrets.sh [host]
# host: what the certificate is made out to. Put your own tls_cert and tls_key in their place when you have them.
set -eu
host=${1:-localhost}
case $host in
    *:*) kind=IP ;;
    *[!0-9.]*) kind=DNS ;;
    *) kind=IP ;;
esac
folder=$(dirname "$0")/secrets
# The folder is closed to others. The files in it are open, since each container's own user reads those mounted into it.
mkdir -p "$folder"
chmod 700 "$folder"
cd "$folder"
umask 022
for name in cache_secret client_secret kong_pg_password postgres_pw psql_admin_pw psql_posting_pw psql_pw \
    vault_psql_pw vault_root_token vault_secret_id; do
    if [ ! -s "$name" ]; then
        value=$(openssl rand -hex 32) # in a step of its own, so that nothing is made without it
        printf %s "$value" >"$name.new"
        mv "$name.new" "$name"
        echo "made $name"
    fi
done
if [ ! -s tls_key ] || [ ! -s tls_cert ]; then
    said=$(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj "/CN=$host" \
        -addext "subjectAltName=$kind:$host,IP:127.0.0.1" -keyout tls_key -out tls_cert 2>&1) || {
        echo "$said" >&2
        exit 1
    }
    chmod 644 tls_key
    echo "made tls_key and tls_cert for $host"
fi
