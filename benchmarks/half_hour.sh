#!/usr/bin/env bash
# What is worth half an hour of one or two H200 next, each part once: the judge of scenes and the
# bundled emoji-text, whole networks by their times of training, words, what scoring costs, CIFAR-10.
# Two GPUs take the parts in turn.
#
#     bash benchmarks/half_hour.sh CIFAR WORK
#
# CIFAR holds train/CLASS/… and test/CLASS/…; the drawings are in data/emoji. Logs, runs and results
# go to WORK. The same command goes on with what is missing. TEXT is more options of each training on
# texts, JUDGE, WORDS and PHOTO of those measurements, BENCH of how samples are judged, such as smaller
# ones to try the commands. After LIMIT seconds no part begins.
set -u
cifar=$1 work=$2
python=${PYTHON:-python3}
limit=${LIMIT:-1500}
mkdir -p "$work/log" "$work/results"
rm -rf "$work/taken" && mkdir "$work/taken"

part() { # NAME COMMAND…: once, with a log; a part that fails does not stop the others
    [ -e "$work/log/$1.done" ] || [ $SECONDS -gt "$limit" ] && return
    mkdir "$work/taken/$1" 2>/dev/null || return # the other GPU has it
    local name=$1 start=$SECONDS code
    shift
    "$@" >"$work/log/$name" 2>&1
    code=$?
    [ $code = 0 ] && touch "$work/log/$name.done"
    echo "$(date +%T) $name: exit $code, $((SECONDS - start)) s; $(tail -n 1 "$work/log/$name" | cut -c1-160)"
}
text() { # models, sampler, guidance, interval, grid
    $python -m benchmarks.text.run --atlas data/emoji --judge "$work/results/judge" --out "$work/results/text.jsonl" \
        --batch-size 500 --prompts 1000 ${BENCH:-} "$@"
}
trained() { # NAME OPTION…: learnt, then judged; a process that a driver ends goes on from its checkpoint
    local run=$work/$1
    shift
    set -- emoji-text --data.path data/emoji --sample-every 0 --snapshot-every 0 --out "$run" "$@"
    $python -m patch_forcing train "$@" || $python -m patch_forcing train "$@" || return
    until [ -e "$work/log/judge.done" ]; do sleep 2; done
    text --models "$run" --samplers "adams-bashforth 48" "euler 48" --guidance 3 --interval 0.1 0.8 --grids shifted:shift=3
}
compared() { # the same network, steps, optimizer and scenes; times and seeds differ
    local seed times
    for seed in 0 1 2; do
        for times in ltg:levels=8,loc=-0.3,scale=1.5 shared-uniform ltg ltg:levels=8; do
            part "text-$times-$seed" trained "text-$times-$seed" --timesteps "$times" --seed $seed ${TEXT:---steps 4000}
        done
    done
}
first() {
    part judge $python -m benchmarks.text.judge --atlas data/emoji --out "$work/results/judge" ${JUDGE:---steps 2500}
    part bundled text --models emoji-text --samplers default
    part bundled-grids text --models emoji-text --samplers "adams-bashforth 48" "adams-bashforth 24" "euler 48" \
        --guidance 3 --interval 0.1 0.8 --grids fitted shifted:shift=3 uniform
}
second() {
    # how much scoring adds to generation: the record's seconds, part by part
    part scoring $python -m patch_forcing evaluate emoji-64 --reference emoji --count 10000 --batch-size 1000 \
        --features emoji --metrics fd,is --out "$work/results/scoring.json"
    part words $python -m benchmarks.words.run --work "$work/words" --out "$work/results/words/words.jsonl" ${WORDS:---steps 5000}
}
natural() { # CIFAR-10: trains and measures what is missing, by the published classifier
    part natural $python -m benchmarks.natural.run --data cifar10 --images "$cifar" --work "$work/natural" \
        --known docs/results/natural/rows.jsonl --out "$work/results/natural" --minutes $(((limit - SECONDS) / 60)) ${PHOTO:-}
}

if [ "$(nvidia-smi -L 2>/dev/null | grep -c GPU)" -gt 1 ]; then
    (export CUDA_VISIBLE_DEVICES=1; second; compared; natural) &
    (export CUDA_VISIBLE_DEVICES=0; first; compared; natural)
else
    first; second; compared; natural
fi
wait
