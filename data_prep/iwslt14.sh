#!/usr/bin/env bash
# bash data_prep/iwslt14.sh --help
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/recipe.sh"
