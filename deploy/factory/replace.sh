#!/bin/sh
# Starts a container of an image in the place of the one that runs, and goes back to that one if it does not get ready.
#
#   $1 name, $2 image, $3 [address:]port to publish, $4 seconds to wait; then further options of `docker create`
#   stdin: NAME=value lines for its environment, an empty line, a tar for /run/secrets
#
# `name` is always the last container that was ready, `name-previous` the one before it, `name-next` one that has to
# prove itself. One process does the whole switch and does not mind losing its connection, so nobody's absence leaves
# the host without a service; what a crash leaves is put in order by the next run.
set -u
trap '' HUP INT TERM PIPE
name=$1 image=$2 publish=$3 patience_s=$4
shift 4
next=$name-next previous=$name-previous carrier=$name-carrier label=factory.of=$name

say() {
    echo "$1" || true # whoever listened may be gone
} 2>/dev/null

exists() {
    docker container inspect "$1" >/dev/null 2>&1
}

# Removes a container, and its image unless another one needs it.
remove() {
    exists "$1" || return 0
    gone=$(docker container inspect --format '{{.Config.Image}}' "$1")
    docker rm --force "$1" >/dev/null
    docker image rm "$gone" >/dev/null 2>&1
    return 0
}

# Removes the secrets of containers that are gone; docker keeps those that are in use.
sweep() {
    for volume in $(docker volume ls --quiet --filter "label=$label"); do
        docker volume rm "$volume" >/dev/null 2>&1
    done
}

# Waits until a container is ready. Sets `why` if it does not get so.
ready() {
    until_s=$(($(date +%s) + patience_s))
    said='' why='it did not start in time'
    while [ "$(date +%s)" -lt "$until_s" ]; do
        state=$(docker inspect --format '{{.State.Status}} {{.RestartCount}} {{if .State.Health}}{{.State.Health.Status}}{{end}}' "$1")
        case $state in
            'running 0 healthy')
                docker exec "$1" python healthcheck.py /ready >/dev/null 2>&1 && return 0
                why='it is alive and not ready: /ready tells which dependency is missing'
                ;;
            'running 0 starting') why='its health check has not succeeded yet' ;;
            'running 0 unhealthy') why='its health check fails'; return 1 ;;
            'running 0 ') why='its image has no health check'; return 1 ;;
            *) why='it ended by itself'; return 1 ;; # and docker has started it again, maybe
        esac
        [ "$why" = "$said" ] || say "waiting $patience_s s at most: $why"
        said=$why
        sleep 1
    done
    return 1
}

# Ends without the new container; the one that was ready before answers again.
go_back() {
    say "the new container failed: $1"
    if exists "$next"; then
        docker logs --tail 20 "$next" 2>&1 | sed 's/^/  | /' 2>/dev/null
        docker rm --force "$next" >/dev/null
    fi
    docker rm --force "$carrier" >/dev/null 2>&1
    sweep
    if ! exists "$name"; then
        say "nothing runs: there was no container $name to go back to"
    elif why=$(docker start "$name" 2>&1) && ready "$name"; then
        say "rolled back: the container that ran before answers again"
    else
        say "the container that ran before was started again and is not ready: $why"
    fi
    exit 1
}

# The lock is for everybody who deploys here, whoever they are; the system frees it when this process ends.
lock=/tmp/factory-$name.lock
(umask 0; set -C; : >"$lock") 2>/dev/null
exec 9<"$lock"
flock -n 9 || { say "another factory is at work on $name here; nothing was changed, try again when it is done"; exit 1; }

if ! exists "$name" && exists "$previous"; then # a crash between the two renames at the end, or before them
    if exists "$next"; then docker rename "$next" "$name"; else docker rename "$previous" "$name"; fi
    say "an earlier run was interrupted: put in order"
elif exists "$next"; then
    docker rm --force "$next" >/dev/null
    say "an earlier run was interrupted: its container is removed"
fi
docker rm --force "$carrier" >/dev/null 2>&1
sweep

set -- "$@" --publish "$publish:5555"
while IFS= read -r line && [ -n "$line" ]; do
    export "${line?}" # docker takes the value from here: a command line is for everybody to see
    set -- "$@" --env "${line%%=*}"
done
secrets=$name-secrets-$(date +%s)
why=$(docker volume create --label "$label" "$secrets" 2>&1) || go_back "$why"
why=$(docker create --name "$carrier" --volume "$secrets:/run/secrets" "$image" 2>&1) || go_back "$why"
why=$(docker cp - "$carrier:/run/secrets" 2>&1) || go_back "$why"
docker rm "$carrier" >/dev/null
why=$(docker create --name "$next" --volume "$secrets:/run/secrets:ro" "$@" "$image" 2>&1) || go_back "$why"

if exists "$name"; then
    say "stopping the container that runs"
    docker stop "$name" >/dev/null
fi
say "starting the new one"
why=$(docker start "$next" 2>&1) || go_back "$why"
ready "$next" || go_back "$why"

if exists "$name"; then
    remove "$previous"
    docker rename "$name" "$previous"
fi
docker rename "$next" "$name"
sweep
say "$name is ready on port ${publish##*:}"
