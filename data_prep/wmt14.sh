#!/usr/bin/env bash
# bash data_prep/wmt14.sh --help
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/recipe.sh"
