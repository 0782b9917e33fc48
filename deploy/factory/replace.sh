#!/bin/sh
# Replaces the running container with one of a new image, and rolls back if the new one does not become ready.
#
#   $1 name, $2 image, $3 [address:]port to publish, $4 timeout in seconds, then options of `docker create`
#   stdin: NAME=value lines for the environment, an empty line, a tar for /run/secrets
#
# `name` is the last container that became ready, `name-previous` the one before it, and `name-next` the one that is
# being started. This process ignores signals and a lost connection, so that it always completes or rolls back. The next
# run repairs the state that a crash leaves.
set -u
trap '' HUP INT TERM PIPE
name=$1 image=$2 publish=$3 timeout_s=$4
shift 4
next=$name-next previous=$name-previous staging=$name-staging label=factory.of=$name

log() {
    echo "$1" || true # the connection may be gone
} 2>/dev/null

exists() {
    docker container inspect "$1" >/dev/null 2>&1
}

# Removes a container, and its image unless another container uses it.
remove() {
    exists "$1" || return 0
    gone=$(docker container inspect --format '{{.Config.Image}}' "$1")
    docker rm --force "$1" >/dev/null
    docker image rm "$gone" >/dev/null 2>&1
    return 0
}

# Removes volumes of secrets that no container uses; docker refuses to remove the others.
prune() {
    for volume in $(docker volume ls --quiet --filter "label=$label"); do
        docker volume rm "$volume" >/dev/null 2>&1
    done
}

# Waits until a container is ready. Sets `why` on failure.
wait_ready() {
    deadline=$(($(date +%s) + timeout_s))
    logged='' why='it did not start in time'
    while [ "$(date +%s)" -lt "$deadline" ]; do
        state=$(docker inspect --format '{{.State.Status}} {{.RestartCount}} {{if .State.Health}}{{.State.Health.Status}}{{end}}' "$1")
        case $state in
            'running 0 healthy')
                docker exec "$1" python healthcheck.py /ready >/dev/null 2>&1 && return 0
                why='it is alive but not ready: /ready names the missing dependency'
                ;;
            'running 0 starting') why='its health check has not succeeded yet' ;;
            'running 0 unhealthy') why='its health check fails'; return 1 ;;
            'running 0 ') why='its image has no health check'; return 1 ;;
            *) why='it exited'; return 1 ;; # docker may have restarted it
        esac
        [ "$why" = "$logged" ] || log "waiting up to $timeout_s s: $why"
        logged=$why
        sleep 1
    done
    return 1
}

# Removes the new container, starts the previous one again, and exits with 1.
roll_back() {
    log "the new container failed: $1"
    if exists "$next"; then
        docker logs --tail 20 "$next" 2>&1 | sed 's/^/  | /' 2>/dev/null
        docker rm --force "$next" >/dev/null
    fi
    docker rm --force "$staging" >/dev/null 2>&1
    prune
    if ! exists "$name"; then
        log "no container is running: no earlier container $name to roll back to"
    elif why=$(docker start "$name" 2>&1) && wait_ready "$name"; then
        log "rolled back: the previous container is ready again"
    else
        log "rollback failed: the previous container was started again but is not ready: $why"
    fi
    exit 1
}

# Any user may take the lock (mode 0666); the kernel releases it when this process exits.
lock=/tmp/factory-$name.lock
(umask 0; set -C; : >"$lock") 2>/dev/null
exec 9<"$lock"
flock -n 9 || { log "another deployment of $name is running here; nothing was changed, try again when it has finished"; exit 1; }

if ! exists "$name" && exists "$previous"; then # crashed between or before the final renames
    if exists "$next"; then docker rename "$next" "$name"; else docker rename "$previous" "$name"; fi
    log "an earlier run was interrupted: restored container $name"
elif exists "$next"; then
    docker rm --force "$next" >/dev/null
    log "an earlier run was interrupted: removed its container"
fi
docker rm --force "$staging" >/dev/null 2>&1
prune

set -- "$@" --publish "$publish:5555"
while IFS= read -r line && [ -n "$line" ]; do
    export "${line?}" # docker reads the value from the environment: command lines are visible to every user
    set -- "$@" --env "${line%%=*}"
done
secrets=$name-secrets-$(date +%s)
why=$(docker volume create --label "$label" "$secrets" 2>&1) || roll_back "$why"
why=$(docker create --name "$staging" --volume "$secrets:/run/secrets" "$image" 2>&1) || roll_back "$why"
why=$(docker cp - "$staging:/run/secrets" 2>&1) || roll_back "$why"
docker rm "$staging" >/dev/null
why=$(docker create --name "$next" --volume "$secrets:/run/secrets:ro" "$@" "$image" 2>&1) || roll_back "$why"

if exists "$name"; then
    log "stopping the running container"
    docker stop "$name" >/dev/null
fi
log "starting the new container"
why=$(docker start "$next" 2>&1) || roll_back "$why"
wait_ready "$next" || roll_back "$why"

if exists "$name"; then
    remove "$previous"
    docker rename "$name" "$previous"
fi
docker rename "$next" "$name"
prune
log "$name is ready on port ${publish##*:}"
