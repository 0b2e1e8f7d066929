#!/usr/bin/env bash
# CLIPScore of torchmetrics cannot be computed with transformers 5: CLIP's features come as a record, no longer a tensor.
#
# `CLIPModel.get_image_features` and `get_text_features` of transformers 4 give the projected features, (B, D). In
# transformers 5 they give a BaseModelOutputWithPooling, of which they are `pooler_output`. torchmetrics calls `.norm` on
# what it gets, names no upper bound for transformers, and pip installs the two side by side. A knowledgeable repair,
# indexing with [0], is worse than the error: the record's first entry is the hidden states of all tokens, whose last
# axis is the hidden size, so that a score of wrong vectors may come out where the sizes happen to agree.
#
# Seen with torchmetrics 1.9.0, transformers 5.24.0, torch 2.14.1 (CPU), Python 3.11, a CLIP of random weights:
#     get_image_features gives BaseModelOutputWithPooling
#     its first entry, last_hidden_state: (1, 5, 16)
#     the projected features, pooler_output: (1, 8)
#     clip_score: AttributeError: 'BaseModelOutputWithPooling' object has no attribute 'norm'
#
# Fails (exit status 1) if that changes. Installs about 3 GB (torch) into a temporary folder.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check \
  torchmetrics==1.9.0 transformers==5.24.0 torch==2.14.1 torchvision==0.29.1 pillow==12.0.0
"$place/venv/bin/python" - "$place" <<'PYTHON'
import json
import sys
from pathlib import Path

import torch
from torchmetrics.functional.multimodal import clip_score
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

place = Path(sys.argv[1])
words = ["<|startoftext|>", "<|endoftext|>", "a</w>", "b</w>"]
(place / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
(place / "merges.txt").write_text("#version: 0.2\n")
tokenizer = CLIPTokenizer(str(place / "vocab.json"), str(place / "merges.txt"))
images = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
part = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
torch.manual_seed(0)
model = CLIPModel(
    CLIPConfig(
        text_config=part | {"vocab_size": 4, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1},
        vision_config=part | {"image_size": 16, "patch_size": 8},
        projection_dim=8,
    )
).eval()
features = model.get_image_features(pixel_values=torch.zeros(1, 3, 16, 16))
print("get_image_features gives", type(features).__name__)
print("its first entry, last_hidden_state:", tuple(features[0].shape))
print("the projected features, pooler_output:", tuple(features.pooler_output.shape))
try:
    found = clip_score(
        torch.zeros(1, 3, 16, 16, dtype=torch.uint8), "a b", lambda: (model, CLIPProcessor(images, tokenizer))
    )
    said = f"{float(found):.3f}"
except AttributeError as error:
    said = f"AttributeError: {error}"
print("clip_score:", said)
projected = features.pooler_output.shape == (1, 8) and features[0].shape == (1, 5, 16)
sys.exit(0 if projected and "no attribute 'norm'" in said else 1)
PYTHON
