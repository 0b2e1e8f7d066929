"""Published pipelines at their full size, as configurations alone: what their folders hold beside weights.

Source: the configuration files of Stable Diffusion XL base 1.0, Stable Diffusion 3 medium, Stable Diffusion 3.5 large
and FLUX.1 dev. The parameter counts that were published with them (`WEIGHTS`) say that these are the same networks.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WEIGHTS = {  # of the networks, in billions, to the digits in which they were published
    "stable_diffusion_xl": 2.57,
    "stable_diffusion_3": 2.03,
    "stable_diffusion_35_large": 8.06,
    "flux": 11.90,
}
DIFFUSERS, TRANSFORMERS = "diffusers", "transformers"

_KL: dict[str, Any] = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "sample_size": 1024,
}
_KL16 = {**_KL, "latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False}
_CLIP = {"architectures": ["CLIPTextModelWithProjection"], "model_type": "clip_text_model"}
_CLIP_L = {**_CLIP, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
_CLIP_L |= {"max_position_embeddings": 77, "projection_dim": 768}
_CLIP_G = {**_CLIP, "hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 20, "intermediate_size": 5120}
_CLIP_G |= {"max_position_embeddings": 77, "projection_dim": 1280}
_T5 = {"architectures": ["T5EncoderModel"], "model_type": "t5", "d_model": 4096, "num_layers": 24, "d_ff": 10240}
_FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}
_SD3 = {
    "_class_name": "SD3Transformer2DModel",
    "sample_size": 128,
    "patch_size": 2,
    "in_channels": 16,
    "out_channels": 16,
    "attention_head_dim": 64,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 2048,
    "pos_embed_max_size": 192,
}


def _sd3(**network: Any) -> dict[str, Any]:
    return {
        "_class_name": "StableDiffusion3Pipeline",
        "scheduler": _FLOW,
        "text_encoder": _CLIP_L,
        "text_encoder_2": _CLIP_G,
        "text_encoder_3": _T5,
        "transformer": {**_SD3, **network},
        "vae": {**_KL16, "scaling_factor": 1.5305, "shift_factor": 0.0609},
    }


PIPELINES: dict[str, dict[str, Any]] = {
    "stable_diffusion_xl": {
        "_class_name": "StableDiffusionXLPipeline",
        "scheduler": {
            "_class_name": "EulerDiscreteScheduler",
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "timestep_spacing": "leading",
            "steps_offset": 1,
        },
        "text_encoder": _CLIP_L,
        "text_encoder_2": _CLIP_G,
        "unet": {
            "_class_name": "UNet2DConditionModel",
            "sample_size": 128,
            "in_channels": 4,
            "out_channels": 4,
            "block_out_channels": [320, 640, 1280],
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
            "layers_per_block": 2,
            "transformer_layers_per_block": [1, 2, 10],
            "attention_head_dim": [5, 10, 20],
            "cross_attention_dim": 2048,
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
        "vae": {**_KL, "latent_channels": 4, "scaling_factor": 0.13025},
    },
    "stable_diffusion_3": _sd3(num_layers=24, num_attention_heads=24, caption_projection_dim=1536),
    "stable_diffusion_35_large": _sd3(
        num_layers=38, num_attention_heads=38, caption_projection_dim=2432, qk_norm="rms_norm"
    ),
    "flux": {
        "_class_name": "FluxPipeline",
        "scheduler": {**_FLOW, "use_dynamic_shifting": True},
        "text_encoder": {**_CLIP_L, "architectures": ["CLIPTextModel"]},
        "text_encoder_2": _T5,
        "transformer": {
            "_class_name": "FluxTransformer2DModel",
            "patch_size": 1,
            "in_channels": 64,
            "num_layers": 19,
            "num_single_layers": 38,
            "attention_head_dim": 128,
            "num_attention_heads": 24,
            "joint_attention_dim": 4096,
            "pooled_projection_dim": 768,
            "guidance_embeds": True,
        },
        "vae": {**_KL16, "scaling_factor": 0.3611, "shift_factor": 0.1159},
    },
}


def configured(name: str, folder: Path) -> Path:
    """A folder of configurations without weights, as `save_pretrained` lays them out."""
    parts = {key: value for key, value in PIPELINES[name].items() if isinstance(value, dict)}
    index: dict[str, Any] = {"_class_name": PIPELINES[name]["_class_name"]}
    for key, settings in parts.items():
        kind = settings.get("_class_name") or settings["architectures"][0]
        index[key] = [DIFFUSERS if "_class_name" in settings else TRANSFORMERS, kind]
        file = folder / key / ("scheduler_config.json" if key == "scheduler" else "config.json")
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(settings))
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder
