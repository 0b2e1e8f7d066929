#!/usr/bin/env bash
# The attention mask of diffusers' CogView4 hides no padding: what stands in the masked tokens changes the image.
#
# CogView4Transformer2DModel takes `attention_mask` (1 for a token, 0 for padding), and one expects what every other
# transformer does with it: a prompt that was padded to a batch's longest and masked gives what the prompt gives alone.
# Its attention processor turns the mask into a matrix of 0.0 and 1.0 and hands that to scaled_dot_product_attention,
# which adds floats to the logits: a token is raised by one, a masked one is left as it is. Prompts of different lengths
# in one batch therefore depend on each other's padding.
#
# Seen with diffusers 0.42.1 and torch 2.14.1 (CPU), Python 3.11: relative change of a small random network's output
#     other numbers in the masked tokens: 0.018
#     padded and masked, against the prompt alone: 0.013
#     the same without any mask, against the prompt alone: 0.033
#
# Fails (exit status 1) if that changes. Installs about 3 GB (torch) into a temporary folder.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check diffusers==0.42.1 torch==2.14.1 numpy
"$place/venv/bin/python" - <<'PYTHON'
import sys

import torch
from diffusers import CogView4Transformer2DModel

torch.manual_seed(0)
network = CogView4Transformer2DModel(
    patch_size=2, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=2,
    text_embed_dim=16, time_embed_dim=8, condition_dim=4,
).eval()
for parameter in network.parameters():
    torch.nn.init.normal_(parameter, std=0.2)
image, text, others = torch.randn(1, 4, 8, 8), torch.randn(1, 6, 16), torch.randn(1, 3, 16)
sizes = {"original_size": torch.tensor([[64, 64]]), "target_size": torch.tensor([[64, 64]])}
mask = torch.tensor([[1, 1, 1, 0, 0, 0]])  # three tokens, three of padding


@torch.no_grad()
def answer(words, mask):
    return network(
        hidden_states=image, encoder_hidden_states=words, timestep=torch.tensor([500.0]), attention_mask=mask,
        crop_coords=torch.tensor([[0, 0]]), **sizes,
    ).sample


def change(one, other):
    return float((one - other).norm() / other.norm())


alone = answer(text[:, :3], None)
seen = {
    "other numbers in the masked tokens": change(answer(torch.cat([text[:, :3], others], 1), mask), answer(text, mask)),
    "padded and masked, against the prompt alone": change(answer(text, mask), alone),
    "the same without any mask, against the prompt alone": change(answer(text, None), alone),
}
for what, number in seen.items():
    print(f"{what}: {number:.3f}")
sys.exit(0 if all(number > 1e-3 for number in seen.values()) else 1)
PYTHON
