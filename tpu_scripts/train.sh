#!/usr/bin/env bash
# Trains on a TPU VM of one host. Run it on the VM in a clone of the repository, or from elsewhere:
#
#   gcloud compute tpus tpu-vm ssh NAME --zone=ZONE \
#     --command="cd acejax && bash tpu_scripts/train.sh configs/smollm2_135m.yaml output=runs/smollm2"
#
# The run outlives the connection; what it prints goes to runs/train.log. Say the same again after it has stopped, and it continues.
#
# What works now is one host (v5e-8, v6e-8 and smaller). Setting up a larger slice works (setup_tpu_vm.sh with --worker=all), training on
# it does not yet: this script refuses.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -ge 1 ] || { echo "usage: tpu_scripts/train.sh CONFIG [key=value ...]" >&2; exit 2; }

attributes=http://metadata.google.internal/computeMetadata/v1/instance/attributes
hosts=$(curl -sf -m 5 -H 'Metadata-Flavor: Google' $attributes/worker-network-endpoints | tr ',' '\n' | grep -c . || true)
[ "$hosts" -le 1 ] || { echo "this slice has $hosts hosts, acejax trains on one for now: create a v5e-8, v6e-8 or smaller" >&2; exit 2; }

[ -x .venv/bin/acejax ] || bash tpu_scripts/setup_tpu_vm.sh
mkdir -p runs
setsid nohup .venv/bin/acejax train "$@" >runs/train.log 2>&1 </dev/null &
run=$!
echo "Training as process $run. Ctrl-C stops only this view; to stop the run: kill $run"
tail -n +1 -f --pid="$run" runs/train.log
wait "$run"
