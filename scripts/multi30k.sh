#!/usr/bin/env bash
# bash scripts/multi30k.sh [masked|dense|dense-dropout] [--from FOLDER]: the Multi30k recipe, from the corpus to docs/results.
#
# Trains the small Transformer (256/1024, 4 heads, 3+3 layers) with everything random and masked, or dense, in the same
# way, each to where validation stops improving; scores its best checkpoint on test 2016. Resumes where it was stopped.
# Masks alone hardly overfit, and need no dropout; a dense Transformer of this size does, so it also gets a run with it.
set -eo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/env.sh"
kind=${1:-masked}
case $kind in
    masked) flags=(--dropout 0) updates=2600 ;;
    dense) flags=(--dense --dropout 0) updates=945 ;;
    dense-dropout) flags=(--dense --dropout 0.3) updates=2600 ;;
    *) echo "multi30k.sh: error: unknown model '$kind'; choose masked, dense or dense-dropout" >&2 && exit 2 ;;
esac
python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || flags+=(--cpu --cpu-bf16)
bash "$ROOT/data_prep/multi30k.sh" --out "$ROOT/data-bin/multi30k.de-en" "${@:2}"
cd "$ROOT"
run=runs/m30k-$kind
mkdir -p "$run"
fairseq-train data-bin/multi30k.de-en --user-dir fairseq_plugins --arch one_layer_masked_small "${flags[@]}" --seed 1 \
    --optimizer adam --adam-betas '(0.9, 0.98)' --lr 1e-3 --lr-scheduler cosine --warmup-updates 200 \
    --max-update $updates --criterion label_smoothed_cross_entropy --label-smoothing 0.1 \
    --max-tokens 4096 --num-workers 0 --update-epoch-batch-itr True --no-epoch-checkpoints --save-dir "$run" \
    --log-format json --log-interval 50 --log-file "$run/train.log"
for split in valid test; do python scripts/score.py "$run" --data data-bin/multi30k.de-en --split $split; done
python -m scripts.results store "$run" "multi30k-$kind" --command "bash scripts/multi30k.sh $kind"
python -m scripts.results draw
