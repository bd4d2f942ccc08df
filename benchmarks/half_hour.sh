#!/usr/bin/env bash
# What one or two H200 do in half an hour, each part once: emoji-text, its judge and which sampling
# suits it; CIFAR-10, editing of photographs, guidance by the input on them, scoring, and how times
# of training compare there. With two GPUs texts and photographs each have their own.
#
#     bash benchmarks/half_hour.sh CIFAR WORK
#
# CIFAR holds train/CLASS/… and test/CLASS/…; the drawings are in data/emoji. Logs, runs and results
# go to WORK. The same command goes on with what is missing. TEXT is more options of the training
# on texts, PHOTO of that on photographs, BENCH of measurements, such as smaller ones to try the
# commands. After LIMIT seconds no more training on photographs begins.
set -u
cifar=$1 work=$2
python=${PYTHON:-python3}
mkdir -p "$work/log" "$work/results"

part() { # NAME COMMAND…: once, with a log; a part that fails does not stop the others
    [ -e "$work/log/$1.done" ] && return
    local name=$1 start=$SECONDS
    shift
    "$@" >"$work/log/$name" 2>&1
    local code=$?
    [ $code = 0 ] && touch "$work/log/$name.done"
    echo "$(date +%T) $name: exit $code, $((SECONDS - start)) s; $(tail -n 1 "$work/log/$name" | cut -c1-160)"
}
train() { # a process that a driver ends goes on from its checkpoint
    $python -m patch_forcing train "$@" || $python -m patch_forcing train "$@"
}
text() { # sampler, guidance, interval, grid, kinds
    $python -m benchmarks.text.run --atlas data/emoji --judge "$work/judge" --models "$work/emoji-text" \
        --out "$work/results/text.jsonl" --batch-size 500 --prompts 500 "$@" ${BENCH:-}
}
packed() { # averaged weights in half the bytes, in files of 15 MiB
    rm -rf "$work/results/$1" && $python - "$work/$1" "$work/results/$1" <<'P'
import shutil, sys
from pathlib import Path
import torch
from safetensors.torch import save
from patch_forcing.generation.pipeline import load
run, out = map(Path, sys.argv[1:])
out.mkdir(parents=True)
weights = load(run, "cpu").model.state_dict()
data = save({name: value.to(torch.bfloat16).contiguous() for name, value in weights.items()})
for number, start in enumerate(range(0, len(data), 15 * 2**20)):
    Path(out, f"model.safetensors.{number}").write_bytes(data[start : start + 15 * 2**20])
for name in ("run.json", "metrics.jsonl"):
    shutil.copy(run / name, out)
P
}

natural() { # CIFAR-10: trains and measures what is missing, by the published classifier
    $python -m benchmarks.natural.run --data cifar10 --images "$cifar" --work "$work/natural" \
        --out "$work/results/natural" ${PHOTO:-} "$@"
}
judged() {
    part judge $python -m benchmarks.text.judge --atlas data/emoji --out "$work/judge" ${BENCH_JUDGE:---steps 2500}
}
drawn() {
    part emoji-text-weights packed emoji-text
    part emoji-text-sheet $python -m patch_forcing sample "$work/emoji-text" --count 13 --out "$work/results/sheet"
    part text-first text --samplers "adams-bashforth 48" --guidance 3 --interval 0 0.8 --grids shifted:shift=3
    part text-interval text --samplers "adams-bashforth 48" --guidance 3 --interval 0.1 0.8 --grids uniform shifted:shift=3 --kinds seen
    part text-scales text --samplers "adams-bashforth 48" --guidance 1 1.5 2 5 --interval 0 0.8 --grids shifted:shift=3 --kinds seen
    part text-grids text --samplers "adams-bashforth 48" --guidance 3 --interval 0 0.8 --grids uniform shifted:shift=6 --kinds seen
    part text-samplers text --samplers "euler 48" "dual-loop 48" "look-ahead 48" "euler 24" "dual-loop 24" "look-ahead 24" \
        "adams-bashforth 24" "euler 12" "adams-bashforth 12" --guidance 3 --interval 0 0.8 --grids shifted:shift=3
}
photographs() {
    local model=$work/natural/cifar10-ltg-levels-8-0
    part cifar10 natural --only cifar10-ltg-levels-8-0
    # without measurements: what is edited has to be there
    [ -d "$model" ] || part cifar10-alone train cifar10 --data.path "$cifar/train" --sample-every 0 --snapshot-every 0 --out "$model"
    part editing $python -m benchmarks.editing.run --weights "$model" --images "$cifar/test" \
        --batch-size 500 --precision bf16 --out "$work/results/editing-natural.json" ${BENCH_EDITING:-}
    [ "$gpus" -gt 1 ] && judged
    part guidance $python -m benchmarks.guidance.run --weights "$model" --images "$cifar/test" --real 9000 \
        --steps 12 --grid uniform --block 1000 --choosing 1 --blocks 3 --batch-size 500 --scales 1 1.25 1.5 2 \
        --only label_1 label_1.25 label_1.5 label_2 both_1.25_0.8 both_1.5_0.8 both_2_0.8 both_1.5_0.5 \
        both_keep_2_0.5 context_1.5_0.8 --cache "$work/cache" --out "$work/results/guidance-natural.json" ${BENCH_GUIDANCE:-}
    part cifar10-sheet $python -m patch_forcing sample "$model" --labels all --count 40 --out "$work/results/cifar10-sheet"
    # how much scoring adds to generation: the record's seconds, part by part
    part scoring $python -m patch_forcing evaluate emoji-64 --reference emoji --count 10000 --batch-size 1000 --features emoji --metrics fd,is \
        --out "$work/results/scoring.json"
    part times natural --minutes $(((${LIMIT:-1500} - SECONDS) / 60))
}

gpus=$(nvidia-smi -L 2>/dev/null | grep -c GPU)
learnt() {
    part emoji-text train emoji-text --data.path data/emoji --sample-every 0 --out "$work/emoji-text" ${TEXT:---steps 17000}
}
if [ "$gpus" -gt 1 ]; then
    CUDA_VISIBLE_DEVICES=1 photographs &
    CUDA_VISIBLE_DEVICES=0 learnt
    CUDA_VISIBLE_DEVICES=0 drawn
else
    judged & # what learns beside it shares the GPU: neither is timed
    learnt
    wait
    drawn
    photographs
fi
wait
