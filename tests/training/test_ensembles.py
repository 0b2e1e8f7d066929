"""The making of members: randomised MAP is exact where it can be, and a killed fit ends like an uninterrupted one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genuq import files
from genuq.data import as_dataset, gaussian_mixture
from genuq.errors import ArtefactError, CheckpointError, ConfigurationError, DataError, NonFiniteError
from genuq.models import GenerativeModel, VAEAutoencoder
from genuq.models.checkpoints import load_model, save_model
from genuq.networks import MLP, VAE
from genuq.parallel.hardware import Hardware
from genuq.posteriors import Posterior
from genuq.posteriors.ivon import Ivon
from genuq.posteriors.members import DeepEnsemble, prior_sizes
from genuq.posteriors.swag import Swag
from genuq.training import ensembles
from genuq.training.batches import StepBatches
from genuq.training.ensembles import finetune_ensemble, fit_members, residual_variance
from genuq.training.fine_tuning import anchor, anchored_loss, target_noise
from genuq.training.member_settings import OnlineNewton
from genuq.training.modules import GenerativeTraining
from support.programs import environment, program
from support.small_members import CPU, SMALL, fresh, made, points, settings, trained_model


def draws_of(posterior: Posterior) -> list[dict[str, Tensor]]:
    return [posterior.draw(k) for k in range(2)]


def assert_same(one: Posterior, two: Posterior) -> None:
    assert one.n_seen == two.n_seen and one.scale == two.scale
    for left, right in zip(draws_of(one), draws_of(two)):
        assert left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


# Randomised MAP


def test_randomised_map_of_a_linear_model_samples_its_posterior() -> None:
    """Each member is the exact minimiser of the training's own loss (a Newton step, as it is quadratic); mean and
    covariance over members against Bayesian linear regression, within Monte-Carlo error."""
    source, count, noise, number = torch.Generator().manual_seed(0), 12, 0.3, 2000
    features_NK = torch.randn(count, 3, generator=source, dtype=torch.float64)
    y_NO = torch.randn(count, 2, generator=source, dtype=torch.float64)
    trained = {"weight": torch.randn(2, 3, generator=source, dtype=torch.float64)}
    sizes = prior_sizes(trained, relative=0.7)

    def minimiser(seed: int) -> Tensor:
        anchors = anchor(trained, sizes, seed)
        target = y_NO + noise**0.5 * target_noise(torch.arange(count), (2,), seed).double()

        def loss(weight: Tensor) -> Tensor:
            return anchored_loss(features_NK @ weight.T, target, {"weight": weight}, anchors, sizes, noise, count)

        start = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
        gradient = torch.autograd.grad(loss(start), start)[0].flatten()
        return -newton(loss, start) @ gradient

    inverse: list[Tensor] = []

    def newton(loss: Any, start: Tensor) -> Tensor:
        if not inverse:  # of a quadratic: the same for all members
            inverse.append(torch.autograd.functional.hessian(loss, start.detach()).reshape(6, 6).inverse())
        return inverse[0]

    members_M6 = torch.stack([minimiser(seed) for seed in range(number)])
    precision_KK = features_NK.T @ features_NK / noise + torch.eye(3) / sizes["weight"] ** 2
    covariance_KK = precision_KK.inverse()
    right_OK = y_NO.T @ features_NK / noise + trained["weight"] / sizes["weight"] ** 2
    mean = (right_OK @ covariance_KK).flatten()
    stated = torch.block_diag(covariance_KK, covariance_KK)
    variances = stated.diagonal()
    assert ((members_M6.mean(0) - mean).abs() < 5 * (variances / number).sqrt()).all()
    error = ((variances[:, None] * variances + stated**2) / number).sqrt()
    assert ((members_M6.T.cov() - stated).abs() < 5 * error).all()
    prior = torch.eye(3, dtype=torch.float64) * sizes["weight"] ** 2
    assert (covariance_KK.diagonal() < 0.5 * prior.diagonal()).all()  # the data had something to say


# Any network, left as it was


class Theirs(nn.Module):
    """Somebody else's: batch statistics, dropout, a frozen embedding, no gradients wanted, a mixed mode."""

    def __init__(self) -> None:
        super().__init__()
        self.entry, self.norm, self.dropout = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.5)
        self.position = nn.Parameter(torch.randn(4, 8, 8), requires_grad=False)
        self.out = nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, image: Tensor, when: Tensor) -> dict[str, Tensor]:
        hidden = self.norm(self.entry(image)) + self.position + when[:, None, None, None]
        return {"velocity": self.out(self.dropout(torch.tanh(hidden)))}


def their_model() -> GenerativeModel:
    torch.manual_seed(0)
    model = GenerativeModel(Theirs(), (1, 8, 8), call=lambda f, x, t, y: f(image=x, when=t)["velocity"])
    model.eval()
    model.network.norm.train()
    model.network.norm.running_mean += 0.3
    return model


def images() -> Tensor:
    return (255 * torch.rand(48, 1, 8, 8, generator=torch.Generator().manual_seed(1))).byte()


def state(model: nn.Module) -> dict[str, Any]:
    values = {
        name: (value.data_ptr(), value.clone()) for name, value in [*model.named_parameters(), *model.named_buffers()]
    }
    modes = [part.training for part in model.modules()]
    return {"values": values, "modes": modes, "learns": [value.requires_grad for value in model.parameters()]}


@pytest.mark.parametrize("rank", [None, 2])
def test_the_model_is_left_as_it_was_bit_for_bit(rank: int | None) -> None:
    model = their_model()
    before, random = state(model), torch.random.get_rng_state()
    done: list[int] = []
    posterior = finetune_ensemble(model, images(), progress=done.append, rank=rank, **SMALL)
    after = state(model)
    assert torch.equal(torch.random.get_rng_state(), random) and sum(done) == 2 * 5
    assert after["modes"] == before["modes"] and after["learns"] == before["learns"]
    for name, (place, value) in before["values"].items():
        assert after["values"][name][0] == place and torch.equal(after["values"][name][1], value)
    assert all(value.grad is None for value in model.parameters())
    draw, other = draws_of(posterior)
    moved = {name for name, value in draw.items() if not torch.equal(value, model.network.get_parameter(name))}
    weights = {"entry.weight", "out.weight"}
    full = {*weights, "entry.bias", "out.bias", "norm.weight", "norm.bias"}
    assert moved == (weights if rank else full)  # not the frozen embedding
    assert not torch.equal(draw["out.weight"], other["out.weight"])


def test_a_network_that_was_frozen_for_sampling_is_trained_all_the_same() -> None:
    model = trained_model()
    model.requires_grad_(False)
    draw = finetune_ensemble(model, points(), **SMALL).draw(0)
    assert all(not torch.equal(value, model.network.get_parameter(name)) for name, value in draw.items())
    assert not any(value.requires_grad for value in model.parameters())


def test_fine_tuned_members_fit_better_than_the_anchors_they_start_from() -> None:
    torch.manual_seed(0)
    data = gaussian_mixture(8, 512)
    model = GenerativeModel(MLP((2,), width=32, depth=1), (2,))
    start = residual_variance(model, data, seed=0)
    loose = {"steps": 60, "batch_size": 64, "prior_relative_size": 1.0, "n_effective": 1e5, "perturb_targets": False}
    posterior = finetune_ensemble(model, data, **SMALL | loose)
    for draw in draws_of(posterior):
        member = GenerativeModel(MLP((2,), width=32, depth=1), (2,))
        member.network.load_state_dict(draw)
        assert residual_variance(member, data, seed=0) < 0.9 * start


def test_the_same_seed_makes_the_same_members_and_another_seed_others() -> None:
    one, two = (finetune_ensemble(trained_model(), points(), **SMALL) for _ in range(2))
    assert_same(one, two)
    other = finetune_ensemble(trained_model(), points(), **SMALL, seed=1)
    assert not torch.equal(one.draw(0)["head.weight"], other.draw(0)["head.weight"])


def test_a_tensor_needs_labels_for_a_model_that_knows_classes() -> None:
    """Refused, not fine-tuned as class 0 throughout; with labels the same as a data set with them."""
    torch.manual_seed(0)
    model, data = GenerativeModel(MLP((2,), width=8, depth=1, num_classes=8), (2,), num_classes=8), points()
    with pytest.raises(DataError, match="knows 8 classes, and a tensor says nothing of them: give labels"):
        finetune_ensemble(model, data.items, **SMALL)
    assert_same(
        finetune_ensemble(model, data.items, labels=data.labels, **SMALL), finetune_ensemble(model, data, **SMALL)
    )
    with pytest.raises(ConfigurationError, match="knows 8 classes, but gaussian_mixture_25 has 25"):
        finetune_ensemble(model, gaussian_mixture(25, 64), **SMALL)


# Deep ensembles


def test_a_member_of_a_deep_ensemble_is_the_training_of_its_own_seed(tmp_path: Path) -> None:
    posterior = made("deep_ensemble", tmp_path, seed=11, class_dropout=0.0)
    torch.manual_seed(12)
    model = GenerativeModel(fresh(), (2,))
    optimisation = settings("deep_ensemble", seed=12, class_dropout=0.0).optimisation
    training = GenerativeTraining(model, points(), optimisation)
    ensembles.complete(training, CPU)
    for name, value in posterior.draw(1).items():
        assert torch.equal(value, training.averaged.get_parameter(name).half().float())
    again = load_model(tmp_path / "member-1.safetensors")[0]  # a checkpoint like any other
    assert torch.equal(again.network.head.weight, posterior.draw(1)["head.weight"])


def test_given_checkpoints_become_the_members_in_their_order(tmp_path: Path) -> None:
    trained = made("deep_ensemble", tmp_path)
    paths = [tmp_path / f"member-{k}.safetensors" for k in range(2)]
    plain = tmp_path / "plain.safetensors"
    files.write_tensors(plain, dict(trained.draw(0)))
    for chosen, order in ((paths[::-1], [1, 0]), (str(tmp_path / "member-*"), [0, 1]), ([paths[1], plain], [1, 0])):
        posterior = fit_members(settings("deep_ensemble", checkpoints=chosen), trained_model(), points())
        assert isinstance(posterior, DeepEnsemble) and posterior.n_seen == 2
        for k, member in enumerate(order):
            assert all(torch.equal(v, trained.draw(member)[name]) for name, v in posterior.draw(k).items())


def test_members_of_another_latent_space_are_refused(tmp_path: Path) -> None:
    def latent(seed: int) -> GenerativeModel:
        torch.manual_seed(seed)
        autoencoder = VAEAutoencoder(VAE((1, 8, 8), latent_channels=2, channels=[4, 4]))
        return GenerativeModel(nn.Conv2d(2, 2, 1), (1, 8, 8), autoencoder=autoencoder, call=lambda f, x, t, y: f(x))

    save_model(tmp_path / "member.safetensors", latent(1), {}, {})
    chosen = settings("deep_ensemble", checkpoints=[tmp_path / "member.safetensors"])
    dataset = as_dataset(images())
    with pytest.raises(CheckpointError, match="another latent space"):
        fit_members(chosen, latent(2), dataset)
    assert fit_members(chosen, latent(1), dataset).n_seen == 1


# SWAG


def test_swag_takes_its_snapshots_at_a_constant_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    seen: list[Tensor] = []
    update = Swag.update

    def spied(self: Swag, weights: dict[str, Tensor]) -> None:
        seen.append(weights["head.weight"].detach().double().clone())
        update(self, weights)

    monkeypatch.setattr(Swag, "update", spied)
    rate = ensembles.SnapshotTraining.rate
    monkeypatch.setattr(
        ensembles.SnapshotTraining, "rate", lambda self, step: rates.append(rate(self, step)) or rates[-1]
    )
    posterior = made("swag", members=4, steps=8, rank=3)
    assert isinstance(posterior, Swag) and posterior.n_seen == 4 and posterior.rank == 3
    assert rates[1:] == [1.0] * (len(rates) - 1)
    moved = torch.stack(seen) - trained_model().network.head.weight.detach().double()
    assert torch.allclose(posterior.mean("head.weight"), moved.mean(0))
    assert torch.allclose(posterior.diagonal("head.weight"), moved.var(0, correction=0))
    assert torch.allclose(posterior.columns("head.weight"), moved[1:] - moved[1:].mean(0), atol=1e-8)


# IVON


def test_ivon_learns_a_mean_and_variances_and_leaves_the_model_as_it_was() -> None:
    model = their_model()
    before, random = state(model), torch.random.get_rng_state()
    chosen = settings("ivon", steps=12, online_newton=OnlineNewton(beta2=0.8, mc_samples=4), learning_rate=0.1)
    posterior = fit_members(chosen, model, as_dataset(images()))
    after = state(model)
    assert torch.equal(torch.random.get_rng_state(), random) and after["modes"] == before["modes"]
    assert all(torch.equal(after["values"][name][1], value) for name, (_, value) in before["values"].items())
    assert isinstance(posterior, Ivon) and posterior.n_seen == 1 and posterior.relative_shift() > 0
    draw, other = draws_of(posterior)
    moved = {name for name, value in draw.items() if not torch.equal(value, model.network.get_parameter(name))}
    assert moved == {"entry.weight", "entry.bias", "out.weight", "out.bias", "norm.weight", "norm.bias"}
    assert not torch.equal(draw["out.weight"], other["out.weight"])
    sizes = prior_sizes({name: value for name, value in model.network.named_parameters() if value.requires_grad}, 0.02)
    narrowed = {name: posterior.variance(name) / size**2 for name, size in sizes.items()}
    assert all(0 < share < 1.5 for share in narrowed.values()) and min(narrowed.values()) < 1
    assert posterior.require_final().observation_noise == pytest.approx(
        residual_variance(model, as_dataset(images()), 0)
    )


def test_a_fit_of_ivon_killed_after_its_last_step_has_the_variances_of_its_checkpoint(tmp_path: Path) -> None:
    """Nothing is left to train: what the optimiser had learnt must come from the checkpoint."""
    kept = shutil.rmtree
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shutil, "rmtree", lambda *_, **__: None)
        whole = made("ivon", tmp_path, steps=6)
    assert kept is shutil.rmtree and (tmp_path / "ivon" / "last.ckpt").exists()
    (tmp_path / "ivon.safetensors").unlink()
    assert_same(made("ivon", tmp_path, steps=6), whole)


# Killed and started again


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


KILLED: dict[str, dict[str, Any]] = {
    "deep_ensemble": {},
    "posthoc_ensemble": {"rank": 1},
    "swag": {"steps": 7, "members": 3},
    "ivon": {"steps": 7},
}
ONE_TRAINING = ("swag", "ivon")
DONE = {
    "deep_ensemble": 8,
    "posthoc_ensemble": 8,
    "swag": 5,
    "ivon": 5,
}  # batches before the kill: three of the second member's


def kill(kind: str, folder: Path) -> None:
    """Member 1 dies in its fourth step, its last checkpoint is that of the second."""
    item, seen = StepBatches.__getitem__, []

    def counted(self: StepBatches, step: int) -> Any:
        seen.append(step)
        return die() if len(seen) > DONE[kind] else item(self, step)

    StepBatches.__getitem__ = counted  # type: ignore[method-assign, assignment]
    made(kind, folder, **KILLED[kind])


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each kind, in which a fit was killed; forked from a process that has done no work yet."""
    folder = tmp_path_factory.mktemp("killed")
    code = (
        "import os, sys; from pathlib import Path; import test_ensembles as t\n"
        "for kind in t.KILLED:\n"
        "    if not (child := os.fork()):\n"
        "        t.kill(kind, Path(sys.argv[1]) / kind); os._exit(0)\n"
        "    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9, kind\n"
    )
    done = program(code, str(folder), variables=environment(__file__))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("kind", KILLED)
def test_a_killed_fit_goes_on_and_ends_the_same(kind: str, killed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, name = killed / kind, kind if kind in ONE_TRAINING else "member-1"
    last = torch.load(folder / name / "last.ckpt", weights_only=True)
    assert last["global_step"] == (4 if kind in ONE_TRAINING else 2)
    finished = folder / "member-0.safetensors"
    assert finished.exists() == (kind not in ONE_TRAINING) and not (folder / "member-0").exists()
    before = finished.read_bytes() if finished.exists() else b""
    seen: list[int] = []
    item = StepBatches.__getitem__
    monkeypatch.setattr(StepBatches, "__getitem__", lambda self, step: seen.append(step) or item(self, step))
    resumed = made(kind, folder, **KILLED[kind])
    assert seen == list(range(last["global_step"], 7 if kind in ONE_TRAINING else 5))
    assert not finished.exists() or finished.read_bytes() == before
    assert not (folder / name).exists()  # a finished member's checkpoint is gone
    for whole in (made(kind, folder, **KILLED[kind]), made(kind, **KILLED[kind])):  # from files alone, and anew
        assert_same(resumed, whole)


def test_a_truncated_member_is_named(tmp_path: Path) -> None:
    made("posthoc_ensemble", tmp_path)
    path = tmp_path / "member-1.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ArtefactError, match=r"member-1\.safetensors is truncated"):
        made("posthoc_ensemble", tmp_path)


@pytest.mark.parametrize("change", ["settings", "weights"])
def test_members_of_another_fit_are_not_mixed_in(change: str, tmp_path: Path) -> None:
    made("posthoc_ensemble", tmp_path)
    model = trained_model()
    if change == "weights":
        nn.init.ones_(model.network.head.bias)
    chosen = settings("posthoc_ensemble", steps=6 if change == "settings" else 5)
    with pytest.raises(ArtefactError, match="other settings or another checkpoint"):
        fit_members(chosen, model, points(), tmp_path)


# Processes


def write_members(path: Path, devices: int) -> None:
    """Two fine-tunings in `devices` processes; the first one writes the draws."""
    hardware = Hardware("cpu", devices, "ddp_fork" if devices > 1 else "auto")
    posterior = finetune_ensemble(trained_model(), points(), **SMALL | {"hardware": hardware, "bits": 32})
    torch.save([dict(draw) for draw in draws_of(posterior)], path)


@pytest.mark.slow
def test_two_processes_make_the_same_members_as_one(tmp_path: Path) -> None:
    """In a process of their own: autograd refuses to work in a fork of a process that has used it."""
    write_members(tmp_path / "one.pt", devices=1)
    code = "import sys; from pathlib import Path; import test_ensembles as t\n"
    code += "t.write_members(Path(sys.argv[1]), devices=2)"
    arguments = [sys.executable, "-c", code, str(tmp_path / "two.pt")]
    subprocess.run(arguments, check=True, timeout=1800, env=environment(__file__))
    for one, two in zip(*(torch.load(tmp_path / f"{name}.pt") for name in ("one", "two"))):
        assert all(torch.allclose(one[name], two[name], atol=1e-5) for name in one)


def test_half_precision_weights_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"is torch\.float16: fine-tuning needs float32"):
        finetune_ensemble(trained_model().half(), points(), observation_noise=0.1, **SMALL)


def test_a_fine_tuning_that_diverges_names_its_own_learning_rate() -> None:
    with pytest.raises(NonFiniteError, match=r"training loss.*posterior\.learning_rate"):
        finetune_ensemble(trained_model(), points(), **SMALL | {"learning_rate": 1e30})


# What members see


@pytest.mark.parametrize("kind", ["posthoc_ensemble", "deep_ensemble"])
def test_members_of_half_the_images_see_their_own_halves(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The likelihood counts as many images as there are in a half."""
    seen = []

    def noted(dataset: Any, *rest: Any, **named: Any) -> StepBatches:
        seen.append(dataset)
        return StepBatches(dataset, *rest, **named)

    monkeypatch.setattr("genuq.training.modules.StepBatches", noted)
    posterior, size = made(kind, data_share=0.5), len(points())
    halves = [set(half.indices.tolist()) for half in seen]
    assert [len(half) for half in halves] == [size // 2] * 2 and halves[0] != halves[1]
    assert posterior.scale.n_effective == size // 2
    assert_same(posterior, made(kind, data_share=0.5))


def test_a_share_that_is_not_given_enters_no_identity() -> None:
    assert "data_share" not in settings("posthoc_ensemble").of_training
    assert settings("posthoc_ensemble", data_share=0.5).of_training["data_share"] == 0.5
