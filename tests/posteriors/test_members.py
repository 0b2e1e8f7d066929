"""Ensembles: the draws are the members, kept to the precision of their file, and whatever does not fit is named."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from genuq import files
from genuq.errors import ArtefactError, CheckpointError, ConfigurationError, NonFiniteError
from genuq.posteriors import Posterior, Scale, swapped
from genuq.posteriors.low_rank import attach, factors
from genuq.posteriors.members import DeepEnsemble, PosthocEnsemble, pack

ONE = Scale(1, 1, 1)
KINDS = {
    "deep": DeepEnsemble,
    "deep, half": lambda network: DeepEnsemble(network, bits=16),
    "post-hoc": PosthocEnsemble,
    "post-hoc, as given": lambda network: PosthocEnsemble(network, bits=32),
    "post-hoc, bytes": lambda network: PosthocEnsemble(network, bits=8),
    "post-hoc, rank 2": lambda network: PosthocEnsemble(network, rank=2),
}


class Network(nn.Module):
    def __init__(self, width=6, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.entry, self.norm = nn.Conv2d(2, width, 3), nn.BatchNorm2d(width)
        self.head = nn.Linear(width, 5)

    def forward(self, x):
        return self.head(torch.tanh(self.norm(self.entry(x))).mean((2, 3)))


def weights_of(network):
    return {name: value.detach().clone() for name, value in network.named_parameters()}


def near(network, seed, size=1e-3, rank=None):
    """A set of weights close to the network's; with a rank, only matrices are moved, each by so many columns."""
    source, moved = torch.Generator().manual_seed(seed), weights_of(network)
    for value in moved.values():
        if rank is None:
            value += size * torch.randn(value.shape, generator=source)
        elif value.ndim > 1:
            up = torch.randn(len(value), rank, generator=source)
            value += size * (up @ torch.randn(rank, value[0].numel(), generator=source)).reshape(value.shape)
    return moved


def fitted(kind, members=3, scale=ONE, network=None):
    network = network or Network()
    posterior = KINDS[kind](network)
    for k in range(members):
        posterior.update(near(network, k, rank=2 if "rank" in kind else None))
    return posterior.finalise(scale) if scale else posterior


def equal(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_the_draws_of_a_deep_ensemble_are_its_members_to_the_last_bit():
    network, others = Network(), [Network(seed=seed) for seed in (1, 2)]
    with torch.no_grad():
        others[0].head.bias[0] = 1e-30  # far below the digits of the trained weight
    posterior = DeepEnsemble(network)
    for other in others:
        posterior.update(other.state_dict())
    posterior.finalise(ONE)
    assert all(equal(posterior.draw(k, seed=9), weights_of(other)) for k, other in enumerate(others))


@pytest.mark.parametrize(
    ("kind", "relative"), [("post-hoc", 2**-11), ("post-hoc, bytes", 1 / 250), ("post-hoc, rank 2", 2**-9)]
)
def test_differences_keep_their_precision_in_half(kind, relative):
    """A millionth of the weights: float16 weights would lose them, scaled float16 differences do not."""
    network = Network().double()
    posterior, member = KINDS[kind](network), near(network, 1, size=1e-6, rank=2 if "rank" in kind else None)
    posterior.update(member)
    draw = posterior.finalise(ONE).draw(0)
    for name, value in draw.items():
        wanted, trained = (source[name] for source in (member, weights_of(network)))
        largest = (wanted - trained).abs().max()
        assert largest > 0 and ((value - wanted).abs() <= relative * largest).all()


@pytest.mark.parametrize("values", [torch.tensor([3e-9, -2e-12]), torch.tensor([7e8, 1.0]), torch.zeros(3)])
def test_packing_loses_half_a_unit_of_eleven_bits(values):
    packed = pack(values, bits=16)
    assert packed.values.dtype == torch.float16 and packed.values.isfinite().all()
    error = (packed.unpacked() - values.double()).abs()
    assert (error <= values.abs().double() * 2**-11 + values.abs().max() * 2**-39).all()


def test_packing_what_was_half_loses_nothing():
    values = torch.randn(2000, generator=torch.Generator().manual_seed(0)).half().float()
    assert torch.equal(pack(values, bits=16).unpacked().float(), values)


@pytest.mark.parametrize("kind", KINDS)
def test_the_temperature_scales_the_deviations_from_the_trained_weights(kind):
    network = Network()
    plain, wide = (fitted(kind, scale=Scale(1, 1, 1, t), network=network) for t in (1, 4))
    trained = weights_of(network)
    for name, value in plain.draw(1).items():
        expected = trained[name] + 2 * (value - trained[name])
        assert torch.allclose(wide.draw(1)[name], expected, atol=1e-6)
    assert wide.mean_variance() == pytest.approx(4 * plain.mean_variance())


@pytest.mark.parametrize("kind", KINDS)
def test_the_perturbation_is_that_of_the_draws(kind):
    network = Network()
    posterior, trained = fitted(kind, network=network), weights_of(network)
    moved = [torch.cat([(v - trained[n]).double().flatten() for n, v in posterior.draw(k).items()]) for k in range(3)]
    sizes = torch.cat([trained[name].double().flatten() for name in posterior.covered()]).square().mean()
    assert posterior.mean_variance() == pytest.approx(float(torch.cat(moved).square().mean()), rel=1e-3)
    assert posterior.relative_perturbation() == pytest.approx(
        float((torch.cat(moved).square().mean() / sizes).sqrt()), rel=1e-3
    )
    drawn = Posterior.squared_deviations(posterior, draws=3)  # from the draws themselves
    assert posterior.squared_deviations() == pytest.approx(drawn, rel=1e-3, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_draw_does_not_depend_on_other_draws_nor_on_weights_swapped_in(kind):
    network = Network()
    posterior = fitted(kind, network=network)
    alone = posterior.draw(2)
    with swapped(network, posterior.draw(0)):
        assert equal(posterior.draw(2), alone)
        assert all(torch.equal(network.get_parameter(name), value) for name, value in posterior.draw(0).items())
    assert not equal(posterior.draw(1), alone)


def test_more_draws_than_members_are_refused():
    with pytest.raises(ConfigurationError, match=r"posterior\.draws = 4 or more.*3 members: lower posterior\.draws"):
        fitted("deep").draw(3)


def test_gaussian_draws_have_the_mean_and_covariance_of_the_members():
    network = nn.Linear(2, 1).double()
    posterior = PosthocEnsemble(network, bits=32, gaussian=True)
    rows = []
    for k in range(4):
        member = near(network, k, size=0.1)
        rows.append(torch.cat([member["weight"].flatten(), member["bias"]]))
        posterior.update(member)
    posterior.finalise(ONE)
    draws = [posterior.draw(index, seed=5) for index in range(4, 8004)]
    drawn = torch.stack([torch.cat([draw["weight"].flatten(), draw["bias"]]) for draw in draws])
    rows = torch.stack(rows)
    stated, variances = rows.T.cov(), rows.T.cov().diagonal()
    assert ((drawn.mean(0) - rows.mean(0)).abs() < 5 * (variances / 8000).sqrt()).all()
    error = ((variances[:, None] * variances + stated**2) / 8000).sqrt()
    assert ((drawn.T.cov() - stated).abs() < 5 * error).all()
    assert equal(posterior.draw(9, seed=5), draws[5]) and not equal(posterior.draw(9, seed=6), draws[5])


@pytest.mark.parametrize("kind", KINDS)
def test_an_ensemble_comes_back_with_the_same_draws(kind, tmp_path):
    posterior = fitted(kind, scale=Scale(1, 1, 1, 2.5))
    posterior.save(tmp_path / "ensemble", notes={"command": "genuq"})
    back = type(posterior).load(tmp_path / "ensemble", Network())
    assert back.options() == posterior.options() and back.n_seen == 3 and back.scale == posterior.scale
    assert all(equal(back.draw(k), posterior.draw(k)) for k in range(3))


@pytest.mark.parametrize("kind", KINDS)
def test_merging_appends_the_members_in_their_order(kind):
    network = Network()
    one, two, both = (KINDS[kind](network) for _ in range(3))
    for k in range(5):
        for posterior in ((one, two)[k >= 2], both):
            posterior.update(near(network, k, rank=2 if "rank" in kind else None))
    one.finalise(ONE)
    one.merge(two)
    assert one.scale is None and one.n_seen == 5
    one.finalise(ONE), both.finalise(ONE)
    assert all(equal(one.draw(k), both.draw(k)) for k in range(5))
    assert one.mean_variance() == both.mean_variance()


def test_only_ensembles_of_the_same_kind_and_weights_are_merged():
    for one, two in (
        (fitted("deep"), fitted("post-hoc")),
        (fitted("post-hoc"), fitted("post-hoc", network=Network(seed=1))),
        (fitted("post-hoc"), fitted("post-hoc, rank 2")),
    ):
        with pytest.raises(ConfigurationError, match="same kind, options and trained weights"):
            one.merge(two)


def test_half_precision_files_are_as_small_as_they_should_be(tmp_path):
    network = nn.Linear(300, 400)
    sizes = {}
    for name, posterior in (
        ("half", PosthocEnsemble(network)),
        ("given", PosthocEnsemble(network, bits=32)),
        ("bytes", PosthocEnsemble(network, bits=8)),
        ("rank", PosthocEnsemble(network, rank=2)),
    ):
        member = near(network, 0, rank=2)
        posterior.update(member)
        posterior.save(tmp_path / name)
        sizes[name] = (tmp_path / name).stat().st_size
    values, overhead = 300 * 400 + 400, 2000
    assert values < sizes["bytes"] < values + overhead
    assert 2 * values < sizes["half"] < 2 * values + overhead < 4 * values < sizes["given"]
    assert sizes["rank"] < 2 * 2 * (300 + 400) + overhead


def test_a_posthoc_ensemble_is_refused_for_another_checkpoint_and_a_deep_one_is_not(tmp_path):
    fitted("post-hoc").save(tmp_path / "differences")
    with pytest.raises(ArtefactError, match="another network"):
        PosthocEnsemble.load(tmp_path / "differences", Network(seed=1))
    fitted("deep").save(tmp_path / "members")
    back = DeepEnsemble.load(tmp_path / "members", Network(seed=1))
    assert equal(back.draw(1), fitted("deep").draw(1))
    with pytest.raises(ArtefactError, match="another network"):
        DeepEnsemble.load(tmp_path / "members", Network(width=7))


@pytest.mark.parametrize("kept", [0, 9, 300, -1])
def test_a_truncated_file_is_refused(kept, tmp_path):
    path = tmp_path / "ensemble"
    fitted("post-hoc").save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ArtefactError, match="truncated"):
        PosthocEnsemble.load(path, Network())


def test_another_kind_is_refused(tmp_path):
    fitted("deep").save(tmp_path / "ensemble")
    with pytest.raises(ArtefactError, match="'deep_ensemble', not 'posthoc_ensemble'"):
        PosthocEnsemble.load(tmp_path / "ensemble", Network())
    assert files.read_tensors(tmp_path / "ensemble")[1]["n_seen"] == "3"


def without(weights, name):
    return {key: value for key, value in weights.items() if key != name}


WRONG = {
    "missing": (lambda w: without(w, "head.bias"), CheckpointError, r"member 0 has no weight 'head\.bias'"),
    "unknown": (lambda w: w | {"tail.bias": torch.zeros(1)}, CheckpointError, r"'tail\.bias', which Network has not"),
    "shape": (lambda w: w | {"head.bias": torch.zeros(2)}, CheckpointError, r"'head\.bias' is \(2,\), and \(5,\)"),
    "NaN": (lambda w: w | {"head.bias": torch.full((5,), float("nan"))}, NonFiniteError, r"'head\.bias' of member 0"),
    "buffer": (lambda w: w | {"norm.running_mean": torch.ones(6)}, CheckpointError, r"differs in 'norm\.running_mean'"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", WRONG)
def test_weights_that_do_not_fit_are_named_and_nothing_is_added(kind, wrong):
    network = Network()
    posterior, (change, error, message) = KINDS[kind](network), WRONG[wrong]
    if (kind, wrong) == ("post-hoc, rank 2", "missing"):  # biases are not covered
        change, message = (lambda w: without(w, "head.weight")), r"no weight 'head\.weight'"
    if kind == "post-hoc, rank 2" and wrong in ("shape", "NaN"):
        change = {
            "shape": lambda w: w | {"head.weight": torch.zeros(2)},
            "NaN": lambda w: w | {"head.weight": torch.full((5, 6), float("nan"))},
        }[wrong]
        message = message.replace("bias", "weight").replace(r"\(5,\)", r"\(5, 6\)")
    with pytest.raises(error, match=message):
        posterior.update(change({**network.state_dict()}))
    assert posterior.n_seen == 0 and not posterior.members
    with pytest.raises(ConfigurationError, match="no members: call update"):
        posterior.finalise(ONE)


def test_a_weight_shared_by_two_layers_is_one_weight():
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    network[1].weight = network[0].weight
    posterior = PosthocEnsemble(network)
    member = {name: value + 0.5 for name, value in network.state_dict().items()}
    assert "1.weight" in member
    posterior.update(member)
    assert torch.allclose(posterior.finalise(ONE).draw(0)["0.weight"], network[0].weight + 0.5, atol=1e-3)


def test_draws_that_half_precision_rounds_away_are_refused():
    """Weights in no layer, which alone cannot compute in float32."""
    network = nn.ParameterDict({"table": nn.Parameter(torch.ones(3, 2))}).half()
    network = nn.Sequential(network, nn.Identity())
    posterior = PosthocEnsemble(network)
    posterior.update({name: value.float() + 1e-5 for name, value in network.state_dict().items()})
    with pytest.raises(ConfigurationError, match="rounds away"):
        posterior.finalise(ONE).draw(0)


# Low rank


def adapted(rank=2):
    """A network with adapters that have learnt something, and the network it came from."""
    network, trained = Network(), Network()
    adapters = attach(network, rank, seed=3, index=1)
    for adapter in adapters.values():
        nn.init.normal_(adapter.up, std=0.1)
    return network.eval(), trained.eval(), adapters


def test_the_merged_weights_compute_what_the_adapters_compute():
    network, trained, adapters = adapted()
    x = torch.randn(4, 2, 5, 5)
    hidden = nn.functional.conv2d(x, trained.entry.weight, trained.entry.bias)
    layer = adapters["entry.weight"]
    through = nn.functional.conv2d(x, layer.down.reshape(2, 2, 3, 3))
    by_hand = hidden + torch.einsum("or,brhw->bohw", layer.up, through)
    assert torch.allclose(network.entry(x), by_hand, atol=1e-6)
    merged = {name: network.get_submodule(name.removesuffix(".weight")).weight.detach() for name in adapters}
    with swapped(trained, merged):
        assert torch.allclose(trained(x), network(x), atol=1e-6)


def test_adapters_start_at_the_trained_weights_and_alone_learn():
    network, trained = Network(), Network()
    adapters = attach(network, 2, seed=3, index=1)
    x = torch.randn(4, 2, 5, 5)
    assert torch.equal(network.eval()(x), trained.eval()(x))
    learning = {name for name, value in network.named_parameters() if value.requires_grad}
    assert learning == {f"{name}.parametrizations.weight.0.up" for name in ("entry", "head")}
    for adapter in adapters.values():
        identity = torch.eye(len(adapter.down))
        assert torch.allclose(adapter.down @ adapter.down.T, identity, atol=1e-5)
    other = attach(Network(), 2, seed=3, index=2)
    assert not torch.allclose(other["head.weight"].down, adapters["head.weight"].down)


def test_adapters_come_off_again():
    network, trained, _ = adapted()
    for layer in (network.entry, network.head):
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    assert equal(weights_of(network), weights_of(trained))


def test_a_difference_of_higher_rank_is_refused():
    source = torch.Generator().manual_seed(0)
    with pytest.raises(CheckpointError, match=r"'head\.weight' has a rank above 2.*posterior\.rank"):
        factors(torch.randn(6, 9, generator=source, dtype=torch.float64), 2, "head.weight")
    posterior = PosthocEnsemble(Network(), rank=2)
    with pytest.raises(CheckpointError, match=r"differs in 'entry\.bias'"):
        posterior.update(near(Network(), 0, size=0.1))


def test_factors_are_those_of_the_singular_value_decomposition():
    source = torch.Generator().manual_seed(0)
    matrix = torch.randn(30, 3, generator=source).double() @ torch.randn(3, 40, generator=source).double()
    up, down = factors(matrix, 3, "w")
    assert torch.allclose(up @ down, matrix, atol=1e-10)
    singular = torch.linalg.svdvals(matrix)[:3].sqrt()
    assert torch.allclose(up.norm(dim=0), singular) and torch.allclose(down.norm(dim=1), singular)


@pytest.mark.parametrize(("kind", "bits"), [(DeepEnsemble, 8), (PosthocEnsemble, 12)])
def test_other_numbers_of_bits_are_refused(kind, bits):
    with pytest.raises(ConfigurationError, match=rf"posterior\.bits = {bits}; '{kind.kind}' keeps one of"):
        kind(Network(), bits=bits)


@pytest.mark.parametrize("rank", [0, -1])
def test_a_rank_below_one_is_refused(rank):
    with pytest.raises(ConfigurationError, match=r"posterior\.rank"):
        PosthocEnsemble(Network(), rank=rank)
