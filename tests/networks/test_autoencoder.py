"""The variational autoencoder: shapes and loss."""

from __future__ import annotations

import torch

from genuq.networks import VAE
from support.stirred import stirred


class TestVAE:
    def test_shapes_of_latents_and_images(self):
        vae, x = VAE((1, 8, 12), latent_channels=3, channels=(8, 8)), torch.randn(2, 1, 8, 12)
        mean, log_variance = vae.encode(x)
        assert mean.shape == log_variance.shape == (2, *vae.latent_shape) == (2, 3, 2, 3)
        assert vae.decode(mean).shape == x.shape

    def test_loss_is_reconstruction_plus_weighted_kl(self):
        vae, x = stirred(VAE((1, 8, 8), channels=(8, 8))), torch.randn(3, 1, 8, 8)
        noise = torch.randn(3, *vae.latent_shape)
        mean, log_variance = vae.encode(x)
        posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
        kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).mean()
        reconstruction = (vae.decode(mean + posterior.scale * noise) - x).square().mean()
        torch.testing.assert_close(vae.loss(x, noise, kl_weight=0.3), reconstruction + 0.3 * kl)
