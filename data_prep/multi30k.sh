#!/usr/bin/env bash
# bash data_prep/multi30k.sh --help
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/recipe.sh"
