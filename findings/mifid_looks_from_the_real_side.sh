#!/usr/bin/env bash
# MiFID of torchmetrics finds no fault with a generator that only copies training images, and blames one that does not.
#
# The memorisation-informed FID (Bai et al., arXiv 2106.03062) divides FID by how far a generated sample is from the
# training image that is nearest to it, on average over the generated samples. torchmetrics computes all the cosine
# distances and takes the minimum along the other axis: for each real image the nearest generated one, on average over
# the real images. One would guess that it does not matter, as the documentation says "between the real and fake
# distribution". It does as soon as one set is much larger. Fewer samples than training images: the images that nobody
# copied keep the average up, it passes the threshold of 0.1, and the penalty is switched off, even for exact copies.
# More samples than training images: each image has some sample near it, and MiFID explodes although nine samples of ten
# are new. With the sides exchanged in update (`real=False` for the real images) the published number comes out, as FID
# is symmetric.
#
# Seen with torchmetrics 1.9.0, torch 2.14.1 (CPU), Python 3.11, features of 64 normal numbers:
#     5000 real, 500 exact copies: FID 1.9483, torchmetrics 1.9483, exchanged 1.9475e+14, published 1.9475e+14
#     5000 real, 500 near copies: FID 1.9753, torchmetrics 1.9753, exchanged 400.06, published 400.06
#     5000 real, 500 new ones: FID 2.3583, torchmetrics 2.3583, exchanged 2.3583, published 2.3583
#     500 real, 500 near copies and 4500 new ones: FID 2.0193, torchmetrics 395.48, exchanged 2.0193, published 2.0193
#
# Fails (exit status 1) if that changes. Installs about 3 GB (torch) into a temporary folder.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torchmetrics==1.9.0 torch==2.14.1 \
  numpy==2.4.6 scipy==1.17.1
"$place/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.mifid import MemorizationInformedFrechetInceptionDistance

FEATURES = 64


class AsTheyAre(torch.nn.Module):
    """An extractor for samples that are features already."""

    num_features = FEATURES

    def forward(self, samples):
        return samples


def drawn(number):
    return torch.randn(number, FEATURES, dtype=torch.float64)


def measured(metric, real, generated):
    metric.set_dtype(torch.float64)
    metric.update(real, real=True)
    metric.update(generated, real=False)
    return float(metric.compute())


def published(fid, real, generated, threshold=0.1):
    """FID over the mean distance of a generated sample from its nearest real one, or over 1 above the threshold."""
    real, generated = (torch.nn.functional.normalize(features) for features in (real, generated))
    distance = float((1 - (generated @ real.T).abs()).min(dim=1).values.mean())
    return fid / (max(distance, 0) + 1e-14 if distance < threshold else 1)


torch.manual_seed(0)
many, few = drawn(5000), drawn(500)
cases = {
    "5000 real, 500 exact copies": (many, many[:500]),
    "5000 real, 500 near copies": (many, many[:500] + 0.1 * drawn(500)),
    "5000 real, 500 new ones": (many, drawn(500)),
    "500 real, 500 near copies and 4500 new ones": (few, torch.cat([few + 0.1 * drawn(500), drawn(4500)])),
}
as_said = True
for name, (real, generated) in cases.items():
    fid = measured(FrechetInceptionDistance(feature=AsTheyAre()), real, generated)
    seen = measured(MemorizationInformedFrechetInceptionDistance(feature=AsTheyAre()), real, generated)
    exchanged = measured(MemorizationInformedFrechetInceptionDistance(feature=AsTheyAre()), generated, real)
    right = published(fid, real, generated)
    print(f"{name}: FID {fid:.5g}, torchmetrics {seen:.5g}, exchanged {exchanged:.5g}, published {right:.5g}")
    blind = "5000" in name
    as_said &= abs(seen / fid - 1) < 1e-6 if blind else seen > 100 * fid
    as_said &= abs(exchanged / right - 1) < 1e-3 or right > 1e12
    as_said &= right > 100 * fid if "copies" in name and blind else abs(right / fid - 1) < 1e-6
sys.exit(0 if as_said else 1)
PYTHON
