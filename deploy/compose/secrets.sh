#!/bin/sh
# Creates the secrets that docker-compose.yml mounts, and keeps those that exist: deploy/compose/secrets.sh [host]
# host: name or address in the self-signed certificate. Replace tls_cert and tls_key with your own when you have them.
set -eu
host=${1:-localhost}
case $host in
    *:*) kind=IP ;;
    *[!0-9.]*) kind=DNS ;;
    *) kind=IP ;;
esac
folder=$(dirname "$0")/secrets
# The directory is private. The files are world-readable, because each container reads its own as a different user.
mkdir -p "$folder"
chmod 700 "$folder"
cd "$folder"
umask 022
for name in cache_secret client_secret kong_pg_password postgres_pw psql_admin_pw psql_posting_pw psql_pw \
    vault_psql_pw vault_root_token vault_secret_id; do
    if [ ! -s "$name" ]; then
        value=$(openssl rand -hex 32) # separate from the redirection, so that a failure leaves no empty file
        printf %s "$value" >"$name.new"
        mv "$name.new" "$name"
        echo "created $name"
    fi
done
if [ ! -s tls_key ] || [ ! -s tls_cert ]; then
    errors=$(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj "/CN=$host" \
        -addext "subjectAltName=$kind:$host,IP:127.0.0.1" -keyout tls_key -out tls_cert 2>&1) || {
        echo "$errors" >&2
        exit 1
    }
    chmod 644 tls_key
    echo "created tls_key and tls_cert for $host"
fi
