#!/bin/sh
# Checks that the host can be deployed to. Prints its platform, then the best compression that it can unpack (zstd or
# gzip). If the host cannot be used, the last line says why, and the exit status is 1.
docker=$(docker version --format '{{.Server.Os}}/{{.Server.Arch}}' 2>&1) || {
    command -v docker >/dev/null || docker="docker is not on the PATH of $(id -un); install Docker on the host"
    case $docker in
        *"ermission denied"*) docker="$(id -un) may not use docker; run there as root: usermod -aG docker $(id -un)" ;;
    esac
    echo "$docker"
    exit 1
}
command -v flock >/dev/null || { echo "flock is missing; install util-linux on the host"; exit 1; }
echo "$docker" | tail -n 1 # warnings may precede the platform
command -v zstd >/dev/null && echo zstd || echo gzip
