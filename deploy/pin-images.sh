#!/bin/sh
# Pins the images of other projects to the digests that their tags have now: deploy/pin-images.sh [folder]
# Needs docker with buildx, and access to the registries. Run it again to renew the digests.
set -eu
cd "${1:-$(dirname "$0")/..}"
compose=docker-compose.yml dockerfile=deploy/docker/Dockerfile
images=$(
    sed -nE 's/^ +image: ([a-z][a-z/-]*:[0-9][0-9a-z.-]*)(@sha256:[0-9a-f]+)?$/\1/p' "$compose"
    sed -nE 's/^ARG BASE=([^@]+)(@sha256:[0-9a-f]+)?$/\1/p' "$dockerfile"
)
for image in $(echo "$images" | sort -u); do
    digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$image")
    if ! echo "$digest" | grep -qE '^sha256:[0-9a-f]{64}$'; then
        echo "$image: expected a digest, got: $digest" >&2
        exit 1
    fi
    for file in "$compose" "$dockerfile"; do
        sed -E "s#(image: |ARG BASE=)$image(@sha256:[0-9a-f]+)?\$#\1$image@$digest#" "$file" >"$file.new"
        cat "$file.new" >"$file"
        rm "$file.new"
    done
    echo "$image@$digest"
done
