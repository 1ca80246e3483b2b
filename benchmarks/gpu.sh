#!/usr/bin/env bash
# All that needs a GPU, as one command: the tests marked gpu, every case of bench_encode.py, bench_head.py,
# bench_search.py, bench_explain.py and study_forward.py.
#
#   PYTHON=python3 SKBERT_DATA=folder bash benchmarks/gpu.sh [--model-folder FOLDER] [--seconds 530]
#   bash benchmarks/gpu.sh --device cpu --quick        # does the flow run through? keeps no rows
#
# Needs no network and nothing but a Python that has skbert's dependencies; the repository itself is put on its path.
# Without SKBERT_DATA the sample tweets stand in. A part that fails or takes too long does not stop the others; the
# exit status tells whether any did. Rows go to benchmarks/results/, and with the log to the folder $OUT if it is set.
set -u
cd "$(dirname "$0")/.." || exit 1

device=cuda quick='' seconds=530 options=() model=all-MiniLM-L6-v2
while [ $# -gt 0 ]; do
  case $1 in
    --device) device=$2; shift 2 ;;
    --quick) quick=yes seconds=1800; shift ;;
    --seconds) seconds=$2; shift 2 ;;
    --model-folder) options+=(--model-folder "$2") model=$2; shift 2 ;;
    *) echo "unknown option: $1" >&2; exit 2 ;;
  esac
done

python=${PYTHON:-python3}
export OMP_WAIT_POLICY=passive PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 HF_HUB_DISABLE_PROGRESS_BARS=1
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
new=$(mktemp -d)
export SKBERT_RESULTS=$new/rows
mkdir -p "$SKBERT_RESULTS"
failed=()

# After every part, so that what is measured is kept even when the whole is stopped.
hand_over() {
  if [ -n "${OUT:-}" ]; then cp "$SKBERT_RESULTS"/*.jsonl "$new/log.txt" "$OUT"/ 2>/dev/null; fi
}

finish() {
  hand_over
  if [ -z "$quick" ]; then
    mkdir -p benchmarks/results
    for file in "$SKBERT_RESULTS"/*.jsonl; do
      if [ -f "$file" ]; then cat "$file" >>"benchmarks/results/$(basename "$file")"; fi
    done
  fi
  rm -rf "$new"
}
trap finish EXIT

# part NAME LIMIT COMMAND...: at most LIMIT seconds, and no more than are left of the whole
part() {
  local name=$1 limit=$2 left=$((seconds - SECONDS)) start=$SECONDS status
  shift 2
  if [ "$left" -lt 10 ]; then echo "== $name: no time left"; failed+=("$name"); return; fi
  echo "== $name"
  # An interrupt, so that Python removes its temporary models.
  timeout --signal=INT --kill-after=10 "$((limit < left ? limit : left))" "$@" 2>&1 | tee -a "$new/log.txt"
  status=${PIPESTATUS[0]}
  echo "== $name: exit status $status after $((SECONDS - start)) s" | tee -a "$new/log.txt"
  if [ "$status" -ne 0 ]; then failed+=("$name"); fi
  hand_over
}

encode() {
  local name=$1 limit=$2
  shift 2
  part "$name" "$limit" "$python" benchmarks/bench_encode.py --device "$device" --models "$name" --stages \
    ${options[@]+"${options[@]}"} "$@"
}

part tests 110 "$python" -m pytest -m gpu -q -p no:cacheprovider --continue-on-collection-errors
if [ -n "$quick" ]; then
  encode minilm 600 --quick --texts 32 --rounds 1 --corpora gop gop-all airline imdb t128 few one
  encode base 600 --quick --texts 4 --rounds 1 --corpora gop imdb
  encode large 600 --quick --texts 2 --rounds 1 --corpora gop
else
  # A process for each model: an error of CUDA ends all that its process could still do.
  encode base 120 --rounds 7 --case-seconds 5 --corpora gop t128 imdb airline one
  encode minilm 100 --rounds 7 --case-seconds 5 --corpora gop imdb airline gop-all t128 few one
  encode large 170 --rounds 5 --case-seconds 6 --corpora gop t128 imdb airline one
fi

if [ -n "$quick" ]; then
  part head 600 "$python" benchmarks/bench_head.py --device "$device" --rows 500 --columns 64 --epochs 2 --rounds 1
  part search 600 "$python" benchmarks/bench_search.py --device "$device" --model "$model" --texts 60 --cases linear
  part explain 600 "$python" benchmarks/bench_explain.py --device "$device" --model "$model" --texts 4 --train 60 --rounds 1
else
  part head 30 "$python" benchmarks/bench_head.py --device "$device"
  part search 60 "$python" benchmarks/bench_search.py --device "$device" --model "$model" --cases default linear
  part explain 60 "$python" benchmarks/bench_explain.py --device "$device" --model "$model" --rounds 2
fi

if [ -z "$quick" ]; then
  part study 60 "$python" benchmarks/study_forward.py --device "$device" --seconds 0.1 ${options[@]+"${options[@]}"}
fi

if [ ${#failed[@]} -gt 0 ]; then echo "FAILED: ${failed[*]}"; exit 1; fi
echo "all parts done after $SECONDS s"
