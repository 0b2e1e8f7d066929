"""Models as plain data."""

from __future__ import annotations

import json

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.models import Sampler, build, load_weights, sample
from genuq.solvers import DDIM


class TestDescription:
    description = {  # noqa: RUF012 - a constant
        "shape": [1, 16, 16],
        "num_classes": 4,
        "prediction": "v_prediction",
        "process": {"name": "variance_preserving", "schedule": "scaled_linear"},
        "network": {"name": "unet", "channels": [8, 8], "stem": 1},
        "autoencoder": {"name": "vae", "latent_channels": 2, "channels": [8, 8]},
    }

    def test_survives_json_and_fits_its_own_weights(self):
        model, again = build(self.description), build(json.loads(json.dumps(self.description)))
        load_weights(again, model.state_dict(), "memory")
        sampler = Sampler(solver=DDIM(), steps=2, guidance_scale=2.0)
        assert model.latent_shape == (2, 4, 4)
        images = sample(model, sampler, range(3))
        assert images.shape == (3, 1, 16, 16)
        assert torch.equal(sample(again, sampler, range(3)), images)

    @pytest.mark.parametrize(
        "change,match",
        [
            ({"network": {"name": "dut"}}, "Did you mean 'dit'"),
            ({"process": {"name": "variance_preserving", "schedule": "cosin"}}, "Did you mean 'cosine'"),
            ({"prediction": "eps"}, "'eps' is not a prediction type"),
            ({"autoencoder": {"name": "difusers"}}, "Did you mean 'diffusers'"),
            ({"head": "haed"}, "Did you mean 'head'"),
        ],
    )
    def test_each_unknown_name_is_an_error(self, change, match):
        with pytest.raises(ConfigurationError, match=match):
            build({**self.description, **change})
