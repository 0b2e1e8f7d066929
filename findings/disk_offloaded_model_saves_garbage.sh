#!/usr/bin/env bash
# A model of diffusers whose groups are offloaded to disk computes rightly, and save_pretrained writes uninitialised memory.
#
# Between passes `enable_group_offload(offload_to_disk_path=...)` gives every parameter an empty tensor of its shape: not
# the meta device, which would raise, but memory of whatever numbers lie there. So state_dict(), a comparison of weights,
# an average of weights, a posterior around them, and save_pretrained see such numbers, without an error or a warning,
# while samples are right. What was saved loads again without a complaint. (accelerate's disk_offload uses meta.)
#
# Seen with diffusers 0.42.1, accelerate 1.15.0, torch 2.14.1 (CPU), Python 3.11:
#     before the offload: 114 tensors
#     output of the offloaded model is the same: True
#     tensors on the meta device: 0
#     tensors of their own values in state_dict: 0
#     tensors of their own values in what save_pretrained wrote: 0
#
# Fails (exit status 1) if that changes. Installs about 3 GB (torch) into a temporary folder.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check \
  diffusers==0.42.1 accelerate==1.15.0 torch==2.14.1 transformers==5.24.0 numpy
"$place/venv/bin/python" - "$place" <<'PYTHON'
import sys

import torch
from diffusers import UNet2DModel

place = sys.argv[1]
torch.manual_seed(0)
model = UNet2DModel(
    sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
    down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
).eval()
own = {name: value.clone() for name, value in model.state_dict().items()}
print("before the offload:", len(own), "tensors")


def kept(found):
    """How many tensors have the model's values."""
    return sum(torch.equal(own[name], value) for name, value in found.items())


x = torch.randn(1, 1, 8, 8)
with torch.no_grad():
    expected = model(x, 5).sample
    model.enable_group_offload(
        onload_device=torch.device("cpu"), offload_type="leaf_level", offload_to_disk_path=f"{place}/groups"
    )
    same = torch.equal(model(x, 5).sample, expected)
print("output of the offloaded model is the same:", same)
state = model.state_dict()
meta = sum(value.is_meta for value in state.values())
print("tensors on the meta device:", meta)
print("tensors of their own values in state_dict:", kept(state))
model.save_pretrained(f"{place}/saved")
saved = kept(UNet2DModel.from_pretrained(f"{place}/saved").state_dict())
print("tensors of their own values in what save_pretrained wrote:", saved)
sys.exit(0 if same and not meta and saved < len(own) else 1)
PYTHON
