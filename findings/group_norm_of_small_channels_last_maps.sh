#!/usr/bin/env bash
# GroupNorm of small maps is many times slower in channels-last memory on a CPU, and in bfloat16 slower still.
#
# Channels-last is what one is told to convert a convolutional network to before it runs on a CPU, above all in bfloat16,
# and convolutions do gain by it. A U-Net's inner levels lose more than that by their GroupNorm: maps of 16 x 16 and
# smaller take another way than those of 32 x 32, whose time grows with the groups, and which bfloat16 makes dearer. A
# network that has it at every second layer can be slower for the advice.
#
# Seen with torch 2.14.1 (CPU, one thread, x86_64 with AVX-512), Python 3.11, 8 maps; channels-last over plain memory:
#     320 channels, 32 groups, 32 x 32: float32 1.3, bfloat16 0.8
#     320 channels, 32 groups, 16 x 16: float32 3.8, bfloat16 11.6
#     320 channels, 32 groups,  8 x  8: float32 2.6, bfloat16 7.4
#      32 channels, 16 groups, 16 x 16: float32 8.4, bfloat16 29.5
#
# Fails (exit status 1) if 16 x 16 maps of 320 channels are less than twice as slow in either precision, or 32 x 32 ones
# twice as slow. Installs about 3 GB (torch) into a temporary folder.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1
"$place/venv/bin/python" - <<'PYTHON'
import sys
import time

import torch
from torch import nn

torch.set_num_threads(1)


def seconds(norm, maps):
    """The least of many times: of the work alone, whatever else the machine does."""
    norm(maps)
    found = []
    for _ in range(25):
        started = time.process_time()
        for _ in range(4):
            norm(maps)
        found.append(time.process_time() - started)
    return min(found)


@torch.no_grad()
def slower(channels, groups, side, dtype):
    norm, maps = nn.GroupNorm(groups, channels).to(dtype), torch.randn(8, channels, side, side).to(dtype)
    last = maps.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(norm(last), norm(maps), rtol=0.05, atol=0.05)
    return seconds(norm, last) / seconds(norm, maps)


ratios = {}
for case in ((320, 32, 32), (320, 32, 16), (320, 32, 8), (32, 16, 16)):
    ratios[case] = [slower(*case, dtype) for dtype in (torch.float32, torch.bfloat16)]
    channels, groups, side = case
    single, half = ratios[case]
    print(f"{channels:3d} channels, {groups} groups, {side:2d} x {side:2d}: float32 {single:.1f}, bfloat16 {half:.1f}")
as_seen = min(ratios[320, 32, 16]) > 2 > max(ratios[320, 32, 32])
sys.exit(0 if as_seen else 1)
PYTHON
