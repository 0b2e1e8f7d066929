"""Small pipelines with random weights, and small images, for runs that show that everything runs (`scale=smoke`)."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from genuq.errors import ConfigurationError, did_you_mean
from genuq.randomness import isolated, seed_everything
from genuq.store.store import SMALL as FOLDER

PREFIX = "small:"  # before the name of one, where a folder is configured
SIDE = 32  # pixels of an image
COUNTS = {"train": 64, "val": 32}  # images of a class
SHAPES: dict[str, Callable[[Any, Any], Any]] = {  # whether a place relative to the middle is covered
    "bar": lambda y, x: abs(y) < 0.08,
    "cross": lambda y, x: np.minimum(abs(y), abs(x)) < 0.06,
    "disc": lambda y, x: np.hypot(y, x) < 0.2,
    "square": lambda y, x: np.maximum(abs(y), abs(x)) < 0.18,
}
GROUND, FIGURE, NOISE = 0.1, 0.3, 0.3  # of [0, 1]: spread of the ground's colour, reach of the figure's, of a pixel
VERSION = 2  # of the weights and their making
_LONGEST = 16  # tokens
_WIDTH = 16  # features of a text encoder
_MARKS = ("<pad>", "<bos>", "<unk>", "<eos>")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_SIGNS = (*_MARKS, *_LETTERS)


def small_folder(name: str, store: Path) -> Path:
    """The folder in a store that has one of `SMALL`, written now if it was not there: the same bytes at any time.

    Raises:
        ConfigurationError: there is none of this name.
    """
    if name not in SMALL:
        raise ConfigurationError(f"'{PREFIX}{name}' is nothing small that genuq makes.{did_you_mean(name, SMALL)}")
    folder = store / FOLDER / f"{name}-{VERSION}"
    if not folder.is_dir():
        part = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.parent.mkdir(parents=True, exist_ok=True)
        with isolated(), contextlib.redirect_stderr(io.StringIO()):  # bars of progress that end at once
            seed_everything(0)
            SMALL[name](part)
        if not folder.is_dir():  # of two runs that make it at once the first counts
            part.rename(folder)
    return folder


def images(folder: Path) -> None:
    """Train and test images of `SIDE` pixels, in a folder for each of `SHAPES`: one somewhere, in some colour.

    They are grey and noisy, as what random networks make is: among images in strong colours that would all lie at one
    point, and no precision could be told from one.
    """
    rows, columns = np.mgrid[:SIDE, :SIDE]
    source = np.random.default_rng(0)
    for split, count in COUNTS.items():
        for name, covers in SHAPES.items():
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                y, x = source.uniform(0.3 * SIDE, 0.7 * SIDE, 2)
                inside = covers((rows - y) / SIDE, (columns - x) / SIDE)
                ground, figure = source.normal(0.0, GROUND, 3), source.uniform(-FIGURE, FIGURE, 3)
                values = np.where(inside[..., None], figure, ground) + source.normal(0.0, NOISE, (SIDE, SIDE, 3))
                picture = Image.fromarray((255 * np.clip(0.5 + values, 0, 1)).round().astype(np.uint8))
                picture.save(folder / split / name / f"{number:03d}.png")


def saved(make: Callable[[], Any]) -> Callable[[Path], None]:
    """What writes what is made, as diffusers does."""
    return lambda folder: make().save_pretrained(str(folder))


def autoencoder(channels: int = 4, reductions: int = 2, width: int = 8, side: int = SIDE, **settings: Any) -> Any:
    """A KL autoencoder.

    Args:
        channels: of its latents.
        reductions: how often it halves the sides.
        width: channels of its layers.
        side: pixels of the images that its configuration names.
        settings: further ones of diffusers' class.
    """
    import diffusers

    blocks = reductions + 1
    return diffusers.AutoencoderKL(
        block_out_channels=(width,) * blocks,
        norm_num_groups=2,
        latent_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        mid_block_add_attention=False,
        sample_size=side,
        **settings,
    )


def tokenizer(signs: Sequence[str] = _SIGNS, longest: int = _LONGEST, **settings: Any) -> Any:
    """Letters or words by number, each text between marks.

    Args:
        signs: all that there are, the marks `<pad>`, `<bos>`, `<unk>` and `<eos>` among them; words where one has
            several letters.
        longest: tokens of a text.
        settings: further ones of the tokenizer.
    """
    import transformers
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    vocabulary = {sign: place for place, sign in enumerate(signs)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words = any(len(sign) > 1 for sign in signs if sign not in _MARKS)
    made.pre_tokenizer = pre_tokenizers.Whitespace() if words else pre_tokenizers.Split(Regex("."), "isolated")
    marks = [(mark, vocabulary[mark]) for mark in ("<bos>", "<eos>")]
    made.post_processor = processors.TemplateProcessing(single="<bos> $A <eos>", special_tokens=marks)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        model_max_length=longest,
        **settings,
    )


def text_encoder(
    projected: bool = False, layers: int = 2, signs: int = len(_SIGNS), longest: int = _LONGEST, end: int = 3
) -> Any:
    """A CLIP for texts, with or without a projection.

    Args:
        signs: how many its tokenizer knows.
        longest: tokens of a text.
        end: number of the mark that ends a text.
    """
    import transformers

    config = transformers.CLIPTextConfig(
        hidden_size=_WIDTH,
        intermediate_size=_WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=2,
        vocab_size=signs,
        max_position_embeddings=longest,
        projection_dim=_WIDTH,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=end,
    )
    return (transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel)(config)


def t5(width: int = _WIDTH, signs: int = len(_SIGNS)) -> Any:
    """A T5 for texts, whose rows have `width` features; `signs` is how many its tokenizer knows."""
    import transformers

    config = transformers.T5Config(d_model=width, d_ff=_WIDTH, d_kv=4, num_heads=2, num_layers=1, vocab_size=signs)
    return transformers.T5EncoderModel(config)


def both_of_clip(texts: Any, words: Any, layers: int = 1) -> tuple[Any, Any]:
    """(a CLIP for texts and images of 12 pixels, what prepares them).

    Args:
        texts: a text encoder, whose settings its own has.
        words: the tokenizer.
        layers: of its image encoder.
    """
    import transformers

    vision = {"hidden_size": _WIDTH, "intermediate_size": _WIDTH, "num_hidden_layers": layers, "num_attention_heads": 2}
    vision |= {"image_size": 12, "patch_size": 4, "projection_dim": _WIDTH}
    settings = texts.config.to_dict()
    config = transformers.CLIPConfig(text_config=settings, vision_config=vision, projection_dim=_WIDTH)
    sides: dict[str, Any] = {"size": {"shortest_edge": 12}, "crop_size": {"height": 12, "width": 12}}
    processor = transformers.CLIPProcessor(transformers.CLIPImageProcessor(**sides), words)
    return transformers.CLIPModel(config), processor


def clip(folder: Path) -> None:
    """A CLIP for texts and images, with what prepares them."""
    for part in both_of_clip(text_encoder(projected=True), tokenizer()):
        part.save_pretrained(str(folder))


def stable_diffusion() -> Any:
    """Stable Diffusion 1.x: epsilon by a U-Net that attends to a text."""
    import diffusers

    network = diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=8,
        cross_attention_dim=_WIDTH,
    )
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    return diffusers.StableDiffusionPipeline(
        vae=autoencoder(),
        text_encoder=text_encoder(),
        tokenizer=tokenizer(),
        unet=network,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def stable_diffusion_3() -> Any:
    """Stable Diffusion 3: flow matching by a transformer."""
    import diffusers

    network = diffusers.SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        caption_projection_dim=16,
        joint_attention_dim=2 * _WIDTH,
        pooled_projection_dim=2 * _WIDTH,
        pos_embed_max_size=8,
    )
    return diffusers.StableDiffusion3Pipeline(
        transformer=numbered(network),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoder(shift_factor=0.06, scaling_factor=1.5),
        text_encoder=text_encoder(projected=True),
        tokenizer=tokenizer(),
        text_encoder_2=text_encoder(projected=True),
        tokenizer_2=tokenizer(),
        text_encoder_3=t5(2 * _WIDTH),
        tokenizer_3=tokenizer(),
    )


def numbered(network: Any) -> Any:
    """The network, where no weight is left as memory was found."""
    for value in network.parameters():
        torch.nn.init.normal_(value, std=1.0 if value.ndim < 2 else value[0].numel() ** -0.5)
    return network


SMALL: dict[str, Callable[[Path], None]] = {
    "images": images,
    "autoencoder": saved(autoencoder),
    "clip": clip,
    "stable_diffusion": saved(stable_diffusion),
    "stable_diffusion_3": saved(stable_diffusion_3),
}
