#!/usr/bin/env bash
# CenterCrop of torchvision and the floored crop of published preprocessing are a pixel apart for every fourth margin.
#
# Reference statistics of ImageNet for diffusion models come from images whose centre was cut at (height - size) // 2.
# torchvision rounds half of the margin, and Python rounds halves to the even number: a margin of 3 or 7 starts at 2 or
# 4, one of 1 or 5 at 0 or 2. So neither "always floor" nor "always half up" explains it, a test on one odd margin may
# well agree, and features of "the same" real images are of other pixels for a quarter of all margins.
#
# Seen with torchvision 0.29.1, torch 2.14.1 (CPU), Pillow 12.0.0, Python 3.11: first column of a crop of 64
#     margin 1: floored 0, torchvision 0, of a tensor 0
#     margin 3: floored 1, torchvision 2, of a tensor 2
#     margin 5: floored 2, torchvision 2, of a tensor 2
#     margin 7: floored 3, torchvision 4, of a tensor 4
#     apart at margins 3 7
#
# Fails (exit status 1) if that changes. Installs about 3 GB (torch) into a temporary folder.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check \
  torchvision==0.29.1 torch==2.14.1 pillow==12.0.0 numpy
"$place/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
from PIL import Image
from torchvision.transforms import v2

SIZE = 64


def columns(margin):
    """An image whose every pixel is the number of its column."""
    return Image.fromarray(np.tile(np.arange(SIZE + margin, dtype=np.uint8), (SIZE, 1)))


def floored(image):
    top, left = (image.height - SIZE) // 2, (image.width - SIZE) // 2
    return image.crop((left, top, left + SIZE, top + SIZE))


def first_column(image):
    return int(np.asarray(image)[0, 0])


crop, rows = v2.CenterCrop(SIZE), []
for margin in range(9):
    image = columns(margin)
    of_tensor = int(crop(v2.functional.pil_to_tensor(image))[0, 0, 0])
    rows.append((margin, first_column(floored(image)), first_column(crop(image)), of_tensor))
    print("margin %d: floored %d, torchvision %d, of a tensor %d" % rows[-1])
apart = [margin for margin, mine, theirs, _ in rows if mine != theirs]
print("apart at margins", *apart)
sys.exit(0 if apart == [3, 7] and all(row[2] == row[3] for row in rows) else 1)
PYTHON
