#!/usr/bin/env bash
# bash data_prep/numbers.sh --help
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/recipe.sh"
