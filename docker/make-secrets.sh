#!/bin/sh
# Makes the secrets of compose.yaml, once, out of git. Compose mounts each file as it is, so the
# container's users must be able to read it; on this machine the folder keeps others out.
set -eu
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
chmod 700 "$folder"
[ -e "$folder/redis_password" ] || od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$folder/redis_password"
printf 'redis://cascade:%s@redis:6379/0' "$(cat "$folder/redis_password")" >"$folder/redis_url"
# The key of the LLM; the demo's endpoint asks for none.
[ -e "$folder/llm_key" ] || printf 'none' >"$folder/llm_key"
chmod 644 "$folder"/*
