#!/usr/bin/env bash
# bash data_prep/corpus.sh --help
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/recipe.sh"
