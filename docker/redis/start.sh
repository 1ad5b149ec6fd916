#!/bin/sh
# Starts Redis for one user, who may do what a job needs and no more.
set -eu
: "${REDIS_PASSWORD_FILE:=/run/secrets/redis_password}" "${REDIS_RULES:=/etc/redis/rules.acl}"
: "${REDIS_DATA:=/data}"
hash=$(tr -d '\n' <"$REDIS_PASSWORD_FILE" | sha256sum | cut -d ' ' -f 1)
users=$(mktemp)
printf 'user default off\nuser cascade on #%s %s\n' "$hash" "$(cat "$REDIS_RULES")" >"$users"
exec redis-server --aclfile "$users" --appendonly yes --maxmemory-policy noeviction \
    --dir "$REDIS_DATA" "$@"
