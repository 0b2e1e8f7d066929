#!/usr/bin/env bash
# Lumina2Pipeline of diffusers shifts its timesteps by the number of the latents' channels, whatever the image's size.
#
# Pipelines of flow matching with `use_dynamic_shifting` compute mu from the number of the image's tokens, so that large
# images spend more steps at high noise. Flux and others do it with packed latents (B, tokens, C), whose shape[1] is that
# number. Lumina2Pipeline takes shape[1] of latents that are not packed, (B, C, H, W): mu is that of C tokens at every
# size. Whoever trains, inverts or scores with a schedule "for this resolution" is on another path than the pipeline.
#
# Seen with diffusers 0.42.1, torch 2.14.1 (CPU), Python 3.11, 16 channels: timesteps of four steps
#     512 x 512 by the pipeline: 1000.0 826.1 612.9 345.4
#     64 x 64 by the pipeline: 1000.0 826.1 612.9 345.4
#     of the 1024 tokens of 512 x 512: 1000.0 849.2 652.5 384.9
#
# Fails (exit status 1) if that changes. Installs about 3 GB (torch) into a temporary folder.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check \
  diffusers==0.42.1 torch==2.14.1 transformers==5.24.0 numpy
"$place/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, Lumina2Pipeline, Lumina2Transformer2DModel

STEPS, CHANNELS = 4, 16
torch.manual_seed(0)
network = Lumina2Transformer2DModel(
    sample_size=4, patch_size=2, in_channels=CHANNELS, hidden_size=24, num_layers=1, num_refiner_layers=1,
    num_attention_heads=1, num_kv_heads=1, multiple_of=16, axes_dim_rope=(8, 8, 8), axes_lens=(256, 512, 512),
    cap_feat_dim=8,
)
autoencoder = AutoencoderKL(
    block_out_channels=(4,), layers_per_block=1, latent_channels=CHANNELS, norm_num_groups=1, shift_factor=0.0,
    use_quant_conv=False, use_post_quant_conv=False,
)
scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
pipe = Lumina2Pipeline(
    transformer=network.eval(), scheduler=scheduler, vae=autoencoder.eval(), text_encoder=None, tokenizer=None
)
pipe.set_progress_bar_config(disable=True)
text = {"prompt_embeds": torch.zeros(1, 4, 8), "prompt_attention_mask": torch.ones(1, 4, dtype=torch.long)}


def by_pipeline(side):
    pipe(**text, height=side, width=side, num_inference_steps=STEPS, guidance_scale=1.0, output_type="latent")
    return pipe.scheduler.timesteps.tolist()


def of_tokens(count):
    """The scheduler's own shift for so many tokens: mu runs from 0.5 at 256 of them to 1.15 at 4096."""
    mu = 0.5 + (1.15 - 0.5) * (count - 256) / (4096 - 256)
    own = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    own.set_timesteps(sigmas=np.linspace(1, 1 / STEPS, STEPS).tolist(), mu=mu)
    return own.timesteps.tolist()


tokens = (512 // pipe.vae_scale_factor // 2) ** 2
large, small, expected, of_channels = by_pipeline(512), by_pipeline(64), of_tokens(tokens), of_tokens(CHANNELS)
print("512 x 512 by the pipeline:", *(f"{time:.1f}" for time in large))
print("64 x 64 by the pipeline:", *(f"{time:.1f}" for time in small))
print(f"of the {tokens} tokens of 512 x 512:", *(f"{time:.1f}" for time in expected))
same = np.allclose(large, small) and np.allclose(large, of_channels)
sys.exit(0 if same and max(abs(a - b) for a, b in zip(large, expected)) > 10 else 1)
PYTHON
