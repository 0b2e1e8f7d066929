"""Small pipelines of every family with random weights, text encoders and tokenizers included, as people save them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from torch import Tensor, nn

from genuq.pretrained import small
from support.their_schedulers import STABLE_DIFFUSION

PROMPTS = ["a red cat", "two small blue dogs on a big green hill"]
NEGATIVE = "ugly and small"
_TEXT = "a red cat two small blue dogs on big green hill ugly and the image user system"
_SIGNS = ("<pad>", "<bos>", "<unk>", *_TEXT.split(" "), "<eos>")
ENTRIES = 32  # of the encoders' tables, more than there are signs
_CHAT = "{% for message in messages %}{{ message['content'] }} {% endfor %}"


def seeded(make: Callable[..., Any]) -> Callable[..., Any]:
    def made(*given: Any, **options: Any) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return make(*given, **options)

    return made


def tokenizer(longest: int = 12) -> Any:
    """Words by number, each text between marks."""
    return small.tokenizer(_SIGNS, longest, chat_template=_CHAT, padding_side="right")


def clip(projected: bool = False, layers: int = 2, longest: int = 12) -> Any:
    return small.text_encoder(projected, layers, ENTRIES, longest, _SIGNS.index("<eos>")).eval()


def t5(width: int = 16) -> Any:
    return small.t5(width, ENTRIES).eval()


def gemma() -> Any:
    config = transformers.Gemma2Config(
        head_dim=8,
        hidden_size=16,
        intermediate_size=16,
        num_attention_heads=2,
        num_hidden_layers=2,
        num_key_value_heads=2,
        vocab_size=32,
    )
    return transformers.Gemma2Model(config).eval()


def qwen3() -> Any:
    config = transformers.Qwen3Config(
        head_dim=8,
        hidden_size=16,
        intermediate_size=16,
        num_attention_heads=2,
        num_hidden_layers=2,
        num_key_value_heads=2,
        vocab_size=32,
    )
    return transformers.Qwen3Model(config).eval()


def qwen_vl() -> Any:
    config = transformers.Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "vocab_size": 32,
            "rope_parameters": {"mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 1e6},
        },
        vision_config={"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16},
    )
    return transformers.Qwen2_5_VLForConditionalGeneration(config).eval()


def kl(channels: int = 4, reductions: int = 1, **settings: Any) -> Any:
    """An AutoencoderKL that halves the sides so many times."""
    return small.autoencoder(channels, reductions, width=4, side=16, **settings).eval()


def stirred(network: nn.Module) -> nn.Module:
    """Random weights in place of those that begin at nought, or nowhere (diffusers' torch.empty)."""
    source = torch.Generator().manual_seed(1)
    for value in network.parameters():
        noise = torch.randn(value.shape, generator=source)
        value.data = noise / value[0].numel() ** 0.5 if value.ndim > 1 else value.data.nan_to_num(0) + 0.1 * noise
    return network.eval()


def ddpm(scheduler: Any = None, **settings: Any) -> Any:
    unet = diffusers.UNet2DModel(
        sample_size=8,
        block_out_channels=(4, 8),
        layers_per_block=1,
        norm_num_groups=2,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        **settings,
    )
    return diffusers.DDIMPipeline(stirred(unet), scheduler or diffusers.DDIMScheduler(clip_sample=False))


def dit() -> Any:
    network = diffusers.DiTTransformer2DModel(
        sample_size=8,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=2,
        in_channels=4,
        out_channels=8,
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_zero",
        norm_elementwise_affine=False,
        activation_fn="gelu-approximate",
    )
    return diffusers.DiTPipeline(stirred(network), kl(), diffusers.DDIMScheduler(clip_sample=False))


def pixart() -> Any:
    network = diffusers.PixArtTransformer2DModel(
        sample_size=8,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=2,
        in_channels=4,
        out_channels=8,
        cross_attention_dim=16,
        caption_channels=16,
    )
    scheduler = diffusers.DPMSolverMultistepScheduler()
    return diffusers.PixArtAlphaPipeline(tokenizer(), t5(), kl(), stirred(network), scheduler)


def _unet(**settings: Any) -> nn.Module:
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(4, 8),
        layers_per_block=1,
        norm_num_groups=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **settings,
    )
    return stirred(unet)


def stable_diffusion(scheduler: Any = None, **settings: Any) -> Any:
    made = scheduler or diffusers.PNDMScheduler(skip_prk_steps=True, steps_offset=1, **STABLE_DIFFUSION)
    unet = _unet(cross_attention_dim=16, attention_head_dim=2, **settings)
    return diffusers.StableDiffusionPipeline(
        kl(), clip(), tokenizer(), unet, made, None, None, requires_safety_checker=False
    )


@seeded
def latent_consistency() -> Any:
    unet = _unet(cross_attention_dim=16, attention_head_dim=2, time_cond_proj_dim=8)
    scheduler = diffusers.LCMScheduler(**STABLE_DIFFUSION)
    return diffusers.LatentConsistencyModelPipeline(
        kl(), clip(), tokenizer(), unet, scheduler, None, None, requires_safety_checker=False
    )


def stable_diffusion_xl() -> Any:
    unet = _unet(
        cross_attention_dim=32,
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + 16,
        transformer_layers_per_block=(1, 1),
    )
    scheduler = diffusers.EulerDiscreteScheduler(timestep_spacing="leading", steps_offset=1, **STABLE_DIFFUSION)
    return diffusers.StableDiffusionXLPipeline(
        kl(), clip(), clip(projected=True), tokenizer(), tokenizer(), unet, scheduler
    )


def stable_diffusion_3() -> Any:
    network = diffusers.SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        caption_projection_dim=16,
        joint_attention_dim=32,
        pooled_projection_dim=32,
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    texts = [clip(projected=True), tokenizer(), clip(projected=True), tokenizer(), t5(32), tokenizer()]
    return diffusers.StableDiffusion3Pipeline(
        stirred(network), scheduler, kl(shift_factor=0.06, scaling_factor=1.5), *texts
    )


def flux(embedded: bool = True) -> Any:
    network = diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        pooled_projection_dim=16,
        axes_dims_rope=(2, 2, 4),
        guidance_embeds=embedded,
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    autoencoder = kl(shift_factor=0.1, scaling_factor=0.4)
    return diffusers.FluxPipeline(scheduler, autoencoder, clip(), tokenizer(), t5(), tokenizer(), stirred(network))


def lumina2() -> Any:
    network = diffusers.Lumina2Transformer2DModel(
        sample_size=4,
        patch_size=2,
        in_channels=4,
        hidden_size=16,
        num_layers=2,
        num_refiner_layers=1,
        num_attention_heads=2,
        num_kv_heads=2,
        multiple_of=16,
        axes_dim_rope=(4, 2, 2),
        axes_lens=(300, 32, 32),
        cap_feat_dim=16,
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=6.0)
    autoencoder = kl(reductions=3, shift_factor=0.1, scaling_factor=0.4)
    return diffusers.Lumina2Pipeline(stirred(network), scheduler, autoencoder, gemma(), tokenizer(64))


def z_image() -> Any:
    network = diffusers.ZImageTransformer2DModel(
        in_channels=4,
        dim=16,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=16,
        axes_dims=(4, 2, 2),
        axes_lens=(128, 16, 16),
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    autoencoder = kl(shift_factor=0.1, scaling_factor=0.4)
    return diffusers.ZImagePipeline(scheduler, autoencoder, qwen3(), tokenizer(), stirred(network))


def sana() -> Any:
    network = diffusers.SanaTransformer2DModel(
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=8,
        num_cross_attention_heads=2,
        cross_attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=16,
        sample_size=8,
    )
    block = ("ResBlock", "EfficientViTBlock")
    autoencoder = diffusers.AutoencoderDC(
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=block,
        decoder_block_types=block,
        encoder_block_out_channels=(4, 4),
        decoder_block_out_channels=(4, 4),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        scaling_factor=0.41407,
    ).eval()
    scheduler = diffusers.DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    return diffusers.SanaPipeline(tokenizer(), gemma(), autoencoder, stirred(network), scheduler)


def qwen_image() -> Any:
    network = diffusers.QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        axes_dims_rope=(4, 2, 2),
    )
    autoencoder = diffusers.AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1],  # lists: it adds one to them
        num_res_blocks=1,
        temperal_downsample=[False],
        latents_mean=[0.1, -0.2, 0.3, 0.0],
        latents_std=[1.5, 0.7, 1.0, 2.0],
    ).eval()
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift_terminal=0.02)
    return diffusers.QwenImagePipeline(scheduler, autoencoder, qwen_vl(), tokenizer(64), stirred(network))


def _flux2_parts(embedded: bool, width: int) -> tuple[Any, Any, Any]:
    """(scheduler, autoencoder, transformer) for text of this width."""
    network = diffusers.Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=width,
        timestep_guidance_channels=16,
        axes_dims_rope=(2, 2, 2, 2),
        guidance_embeds=embedded,
    )
    autoencoder = diffusers.AutoencoderKLFlux2(
        block_out_channels=(4, 4),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=2,
        sample_size=16,
        mid_block_add_attention=False,
    ).eval()
    autoencoder.bn.running_mean.copy_(torch.randn(16))
    autoencoder.bn.running_var.copy_(torch.rand(16) + 0.5)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    return scheduler, autoencoder, stirred(network)


def flux2_klein(distilled: bool = False) -> Any:
    config = transformers.Qwen3Config(
        head_dim=4,
        hidden_size=4,
        intermediate_size=4,
        num_attention_heads=1,
        num_hidden_layers=27,  # the states of the layers 9, 18 and 27 are its text
        num_key_value_heads=1,
        vocab_size=32,
    )
    scheduler, autoencoder, network = _flux2_parts(False, 12)
    text_encoder = transformers.Qwen3ForCausalLM(config).eval()
    return diffusers.Flux2KleinPipeline(
        scheduler, autoencoder, text_encoder, tokenizer(), network, is_distilled=distilled
    )


@seeded
def flux2() -> Any:
    config = transformers.Mistral3Config(
        text_config={
            "model_type": "mistral",
            "head_dim": 4,
            "hidden_size": 4,
            "intermediate_size": 4,
            "num_attention_heads": 1,
            "num_hidden_layers": 30,  # the states of the layers 10, 20 and 30 are its text
            "num_key_value_heads": 1,
            "vocab_size": 32,
        },
        vision_config={
            "model_type": "pixtral",
            "hidden_size": 4,
            "intermediate_size": 4,
            "num_attention_heads": 1,
            "num_hidden_layers": 1,
            "image_size": 16,
            "patch_size": 8,
        },
    )
    scheduler, autoencoder, network = _flux2_parts(True, 12)
    text_encoder = transformers.Mistral3ForConditionalGeneration(config).eval()
    words = tokenizer()
    words.chat_template = _CHAT.replace("message['content']", "message['content'][0]['text']")
    return diffusers.Flux2Pipeline(scheduler, autoencoder, text_encoder, words, network)


def cogview4() -> Any:
    network = diffusers.CogView4Transformer2DModel(
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        text_embed_dim=16,
        time_embed_dim=16,
        condition_dim=8,
        rope_axes_dim=(16, 16),
        sample_size=8,
    )
    config = transformers.GlmConfig(
        head_dim=8,
        hidden_size=16,
        intermediate_size=16,
        num_attention_heads=2,
        num_hidden_layers=2,
        num_key_value_heads=2,
        vocab_size=32,
        pad_token_id=0,
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(
        base_shift=0.25, max_shift=0.75, base_image_seq_len=256, use_dynamic_shifting=True, time_shift_type="linear"
    )
    text_encoder = transformers.GlmModel(config).eval()
    return diffusers.CogView4Pipeline(tokenizer(64), text_encoder, kl(), stirred(network), scheduler)


def hunyuan_image(guider: Any = None, embedded: bool = False) -> Any:
    network = diffusers.HunyuanImageTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        mlp_ratio=1.0,
        guidance_embeds=embedded,
        text_embed_dim=16,
        text_embed_2_dim=16,
        rope_axes_dim=(4, 4),
    )
    autoencoder = diffusers.AutoencoderKLHunyuanImage(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(32, 32),
        layers_per_block=1,
        spatial_compression_ratio=2,
        sample_size=16,
        scaling_factor=0.75,
    ).eval()
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=5.0)
    plain = diffusers.ClassifierFreeGuidance(guidance_scale=3.5) if guider is None else guider
    return diffusers.HunyuanImagePipeline(
        scheduler, autoencoder, qwen_vl(), tokenizer(), t5(), tokenizer(), stirred(network), guider=plain
    )


def wan(**settings: Any) -> Any:
    network = diffusers.WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=16,
        freq_dim=16,
        ffn_dim=16,
        num_layers=2,
        rope_max_seq_len=32,
    )
    autoencoder = diffusers.AutoencoderKLWan(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1],  # lists: it adds one to them
        num_res_blocks=1,
        temperal_downsample=[True, True],
        latents_mean=[0.1, -0.2, 0.3, 0.0],
        latents_std=[1.5, 0.7, 1.0, 2.0],
        scale_factor_temporal=4,
        scale_factor_spatial=4,
    ).eval()
    scheduler = diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    return diffusers.WanPipeline(tokenizer(), umt5(), autoencoder, scheduler, transformer=stirred(network), **settings)


def umt5() -> Any:
    config = transformers.UMT5Config(d_model=16, d_ff=16, d_kv=4, num_heads=2, num_layers=1, vocab_size=32)
    return transformers.UMT5EncoderModel(config).eval()


PIPELINES: dict[str, Callable[[], Any]] = {
    "unet2d": seeded(ddpm),
    "dit": seeded(dit),
    "pixart": seeded(pixart),
    "stable_diffusion": seeded(stable_diffusion),
    "stable_diffusion_xl": seeded(stable_diffusion_xl),
    "stable_diffusion_3": seeded(stable_diffusion_3),
    "flux": seeded(flux),
    "lumina2": seeded(lumina2),
    "z_image": seeded(z_image),
    "sana": seeded(sana),
    "qwen_image": seeded(qwen_image),
    "flux2": seeded(flux2_klein),
    "cogview4": seeded(cogview4),
    "hunyuan_image": seeded(hunyuan_image),
    "wan": seeded(wan),
}
SIDES = {"lumina2": 32, "sana": 32, "unet2d": 8}
FILMS = ("wan",)
BY_ACCELERATE = ("wan",)  # diffusers reads their networks with it alone
UNPROMPTED = ("unet2d", "dit")


def side_of(family: str) -> int:
    """Of the images that a test makes."""
    return SIDES.get(family, 16)


TEXT_LENGTHS = {
    "flux2": 24,
    "wan": 24,
    "hunyuan_image": 40,
}  # tokens, of families whose texts are all padded to hundreds


def options_of(family: str) -> dict[str, Any]:
    """What `from_pretrained` is given in a test."""
    sides: dict[str, Any] = {"height": side_of(family), "width": side_of(family)}
    sides |= {"max_sequence_length": TEXT_LENGTHS[family]} if family in TEXT_LENGTHS else {}
    sides |= {"frames": 5} if family in FILMS else {}
    return sides if family in UNPROMPTED else {**sides, "prompts": PROMPTS, "negative_prompt": NEGATIVE}


def saved(family: str, folder: Path) -> Path:
    """A folder that the family's `save_pretrained` wrote."""
    PIPELINES[family]().save_pretrained(str(folder))
    return folder


def relative(found: Tensor, expected: Tensor) -> float:
    """Root mean square of the difference, relative."""
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).square().mean().sqrt() / expected.square().mean().sqrt())


def clip_model(longest: int = 12) -> Any:
    """Both towers of CLIP, for images of 12 x 12 pixels, and their processor."""
    model, processor = small.both_of_clip(clip(longest=longest), tokenizer(), layers=2)
    return stirred(model), processor


def saved_clip(folder: Path) -> Path:
    """A folder that `save_pretrained` of a small CLIP wrote."""
    for part in clip_model():
        part.save_pretrained(str(folder))
    return folder
