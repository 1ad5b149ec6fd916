#!/bin/sh
# Installs the wheel with some of its extras into a virtual environment, in the tested versions.
# usage: install.sh VENV FOLDER EXTRAS [REQUIREMENT...]
# FOLDER holds constraints.txt, and the wheel in dist/.
set -eu
venv=$1 folder=$2 extras=$3
shift 3
python3.11 -m venv "$venv"
for wheel in "$folder"/dist/flink_online_cascade-*.whl; do
    "$venv/bin/pip" install --no-cache-dir --constraint "$folder/constraints.txt" \
        "$wheel[$extras]" "$@"
done
# What was installed is what is wanted, whoever calls this.
"$venv/bin/pip" check
"$venv/bin/flink-cascade" --help >/dev/null
