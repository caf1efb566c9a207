#!/usr/bin/env bash
# Prepares a TPU VM for acejax: .venv with everything in requirements.txt and the libtpu of its jax. Run it on the VM in a clone of the
# repository, or from elsewhere:
#
#   gcloud compute tpus tpu-vm ssh NAME --zone=ZONE --worker=all --command="cd acejax && bash tpu_scripts/setup_tpu_vm.sh"
#
# PYTHON chooses the interpreter (3.11 or newer).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

make setup ${PYTHON:+PYTHON="$PYTHON"}
jax=$(.venv/bin/python -c 'import jax; print(jax.__version__)')
.venv/bin/python -m pip install -q --disable-pip-version-check "jax[tpu]==$jax"

# A host of a larger slice sees no chip until all its hosts have joined, so only a single host can be checked here.
attributes=http://metadata.google.internal/computeMetadata/v1/instance/attributes
hosts=$(curl -sf -m 5 -H 'Metadata-Flavor: Google' $attributes/worker-network-endpoints | tr ',' '\n' | grep -c . || true)
if [ "$hosts" -le 1 ]; then
  timeout 120 .venv/bin/python -c '
import sys, jax
print(f"{jax.device_count()} devices: {jax.devices()[0].device_kind}")
sys.exit("no TPU: is this a TPU VM, and does no other process hold its chips?" if jax.default_backend() != "tpu" else 0)'
fi
