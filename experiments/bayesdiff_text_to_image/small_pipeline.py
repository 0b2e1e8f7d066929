"""Small random stand-ins, under the names that the study asks for, in the current folder: for scale=smoke.

python small_pipeline.py && genuq ... scale=smoke
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors

PROMPTS = ["a red cat", "two small blue dogs"]
WORDS = ["<pad>", "<bos>", "<unk>", *" ".join(PROMPTS).split(), "<eos>"]
SIDE, CAPTIONED = 16, 160  # pixels, images


def main() -> None:
    torch.manual_seed(0)
    if Path("weights").exists() or Path("captioned").exists():
        raise SystemExit("weights or captioned is here already: run this in an empty folder.")
    pipeline().save_pretrained("weights/stable-diffusion-v1-5")
    for part in clip():
        part.save_pretrained("weights/clip-vit-base-patch32")
    Path("prompts.txt").write_text("\n".join(PROMPTS) + "\n", encoding="utf-8")
    source = np.random.default_rng(0)
    for number in range(CAPTIONED):
        folder = Path("captioned", "train" if number % 4 else "test", "all")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = source.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def tokenizer() -> Any:
    numbers = {word: place for place, word in enumerate(WORDS)}
    made = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = [(mark, numbers[mark]) for mark in ("<bos>", "<eos>")]
    made.post_processor = processors.TemplateProcessing(single="<bos> $A <eos>", special_tokens=marks)
    names = {"unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=8, **names)


def text_settings() -> dict[str, Any]:
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": 1, "eos_token_id": len(WORDS) - 1, "pad_token_id": 0}
    return {**small, **ends, "vocab_size": len(WORDS), "max_position_embeddings": 8, "projection_dim": 16}


def clip() -> tuple[Any, Any]:
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 12, "patch_size": 4, "projection_dim": 16}
    config = transformers.CLIPConfig(text_config=text_settings(), vision_config=vision, projection_dim=16)
    sides = {"size": {"shortest_edge": 12}, "crop_size": {"height": 12, "width": 12}}
    return transformers.CLIPModel(config), transformers.CLIPProcessor(
        transformers.CLIPImageProcessor(**sides), tokenizer()
    )


def pipeline() -> Any:
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(4, 8),
        layers_per_block=1,
        norm_num_groups=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=2,
    )
    autoencoder = diffusers.AutoencoderKL(
        block_out_channels=(4, 4),
        norm_num_groups=2,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        mid_block_add_attention=False,
        sample_size=SIDE,
    )
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
    )
    encoder = transformers.CLIPTextModel(transformers.CLIPTextConfig(**text_settings()))
    return diffusers.StableDiffusionPipeline(
        autoencoder, encoder, tokenizer(), unet, scheduler, None, None, requires_safety_checker=False
    )


if __name__ == "__main__":
    main()
