#!/usr/bin/env bash
# bash scripts/multi30k.sh [RUN...]: from the corpus to docs/results/multi30k.md; hours on a CPU, and resumes where it was stopped.
#
# RUN is of scripts/studies/multi30k.toml (all). The dense model comes first, for others learn from it. From a local copy of
# the corpus: run data_prep/multi30k.sh --from FOLDER before.
set -eo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/env.sh"
cd "$ROOT"
data=data-bin/multi30k
study=scripts/studies/multi30k.toml
[ -d $data.de-en ] || bash data_prep/multi30k.sh --out $data.de-en
teacher=runs/multi30k/dense-s1/checkpoint_best.pt
# A clone has the teacher's result, but not the teacher.
[ -f "$(dirname $teacher)/trained" ] || python scripts/sweep.py $study dense-s1 --again
[ -d $data-distilled.de-en ] || python -m one_layer_lt distil $teacher --data $data.de-en --out $data-distilled.de-en
[ -f data-bin/embeddings/embed.en.txt ] || python -m one_layer_lt embeddings model $teacher --data $data.de-en --out data-bin/embeddings
python scripts/sweep.py $study "$@"
[ $# -gt 0 ] || python scripts/sweep.py scripts/studies/twin.toml "twin 256" "signs 256" # masks that start from a dense twin
python -m scripts.tables
