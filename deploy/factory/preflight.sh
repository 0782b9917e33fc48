#!/bin/sh
# Says which platform the host is, and what it can unpack; or why it cannot be used.
docker=$(docker version --format '{{.Server.Os}}/{{.Server.Arch}}' 2>&1) || {
    command -v docker >/dev/null || docker="docker is not on the PATH of $(id -un); install Docker there"
    case $docker in
        *"ermission denied"*) docker="$(id -un) may not use docker; as root there: usermod -aG docker $(id -un)" ;;
    esac
    echo "$docker"
    exit 1
}
command -v flock >/dev/null || { echo "flock is missing; install util-linux there"; exit 1; }
echo "$docker" | tail -n 1 # there may be warnings before
command -v zstd >/dev/null && echo zstd || echo gzip
