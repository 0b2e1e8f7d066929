"""The model's face: targets, guidance, classes, its weights, what it predicts, the data it can be trained on."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genuq.data import ArrayDataset
from genuq.errors import ConfigurationError, NonFiniteError
from genuq.models import Conditions, GenerativeModel, Sampler, evaluating, sample
from genuq.networks import MLP, UNet
from genuq.processes import ScheduledFlow, VariancePreserving


def points_model(num_classes: int = 3, **options) -> GenerativeModel:
    torch.manual_seed(0)
    return GenerativeModel(MLP((2,), width=16, num_classes=num_classes), (2,), num_classes=num_classes, **options)


def batch(count: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(count, 2), torch.rand(count), torch.arange(count) % 3


class TestTheNetworksOwnTime:
    """A process that was read off a scheduler says what the network is told; a stage may know better."""

    def told(self, *times: torch.Tensor | None, scale: float = 1.0) -> torch.Tensor:
        seen: list[torch.Tensor] = []
        network = nn.Linear(2, 2)
        process = ScheduledFlow(1000)
        model = GenerativeModel(
            network, (2,), process, num_classes=3, call=lambda net, x, t, y: (seen.append(t), net(x))[1]
        )
        x, t, y = batch()
        model.guided(x, torch.full_like(t, 0.25), y, scale, *times)
        return seen[0]

    @pytest.mark.parametrize("scale,rows", [(1.0, 4), (2.0, 8)])
    def test_is_what_the_process_says_or_the_stage(self, scale, rows):
        assert torch.equal(self.told(scale=scale), torch.full((rows,), 250.0))
        assert torch.equal(self.told(torch.full((4,), 249.0), scale=scale), torch.full((rows,), 249.0))


class TestGuidance:
    @pytest.mark.parametrize("scale", [0.0, 0.4, 1.0, 3.5])
    def test_is_the_two_branch_formula(self, scale):
        model, (x, t, y) = points_model(), batch()
        expected = (1 - scale) * model(x, t, torch.full_like(y, 3)) + scale * model(x, t, y)
        torch.testing.assert_close(model.guided(x, t, y, scale), expected, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("scale,rows", [(1.0, 4), (2.0, 8)])
    def test_scale_one_costs_one_branch(self, scale, rows):
        model, seen = points_model(), []
        model.network.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
        model.guided(*batch(), scale)
        assert seen == [rows]


class TestConditions:
    """Rows in place of classes: the call gets them by name, and their numbers are the classes."""

    def model(self, null: bool = True, **options) -> GenerativeModel:
        rows = {"text": torch.arange(6.0).reshape(3, 2)}
        conditions = Conditions(rows, {"text": torch.full((1, 2), 9.0)} if null else None)

        def call(network: nn.Module, x: torch.Tensor, t: torch.Tensor, rows: dict) -> torch.Tensor:
            return network(x) + rows["text"]

        return GenerativeModel(nn.Linear(2, 2), (2,), call=call, conditions=conditions, **options)

    def test_their_numbers_are_the_classes(self):
        model, (x, t, y) = self.model(), batch(3)
        assert model.num_classes == 3
        torch.testing.assert_close(model(x, t, y), model.network(x) + torch.arange(6.0).reshape(3, 2))

    def test_the_null_row_guides(self):
        model, (x, t, y) = self.model(), batch(3)
        rows = torch.arange(6.0).reshape(3, 2)
        expected = model.network(x) + 3 * rows - 2 * 9.0
        torch.testing.assert_close(model.guided(x, t, y, 3.0), expected)

    def test_without_a_null_row_no_guidance(self):
        model = self.model(null=False)
        assert model.branches(3.0) == 1
        with pytest.raises(ConfigurationError, match="no null class"):
            sample(model, Sampler(guidance_scale=3.0), [0])

    def test_none_given_is_refused(self):
        model, (x, t, _) = self.model(), batch(3)
        with pytest.raises(ConfigurationError, match="conditioned on 3 prompts"):
            model(x, t, None)

    def test_classes_beside_them_are_refused(self):
        with pytest.raises(ConfigurationError, match="leave num_classes out"):
            self.model(num_classes=2)


class TestTarget:
    def test_regression_pair_of_epsilon(self):
        model = points_model(process="variance_preserving", prediction="epsilon")
        x0, noise, t = torch.randn(3, 2), torch.randn(3, 2), torch.tensor([0.2, 0.5, 0.8])
        x_t, f = model.target(x0, noise, t)
        alpha = VariancePreserving().alpha(t).float()[:, None]
        torch.testing.assert_close(x_t, alpha * x0 + (1 - alpha.square()).sqrt() * noise)
        assert torch.equal(f, noise)

    def test_unknown_prediction_and_process(self):
        with pytest.raises(ConfigurationError, match="Did you mean 'v_prediction'"):
            points_model(prediction="v_predicton")
        with pytest.raises(ConfigurationError, match="Did you mean 'flow_matching'"):
            points_model(process="flowmatching")


class TestClasses:
    def test_outside_the_range(self):
        with pytest.raises(ConfigurationError, match="has class 3, but the model knows 0 to 2"):
            sample(points_model(), Sampler(classes=[0, 3]), range(2))
        with pytest.raises(ConfigurationError, match=r"sampler.classes = \[-1\]; .*at least 0"):
            Sampler(classes=[-1])

    def test_of_an_unconditional_model(self):
        with pytest.raises(ConfigurationError, match="has class 0, but the model knows no classes: leave it null"):
            sample(points_model(num_classes=0), Sampler(classes=[0]), range(2))

    def test_none_at_all(self):
        with pytest.raises(ConfigurationError, match=r"sampler.classes = \[\]; at least 1 entry is needed"):
            sample(points_model(), Sampler(classes=[]), range(2))

    def test_guidance_without_classes(self):
        with pytest.raises(ConfigurationError, match=r"guidance_scale = 2.0, but the model knows no classes"):
            sample(points_model(num_classes=0), Sampler(guidance_scale=2.0), range(2))

    def test_dealt_out_in_turn_by_index(self):
        model = points_model()
        assert Sampler().classes_of(model, [0, 4, 5, 3]).tolist() == [0, 1, 2, 0]
        assert Sampler(classes=[2, 0]).classes_of(model, [3, 0, 1]).tolist() == [0, 2, 0]
        assert Sampler().classes_of(points_model(num_classes=0), [0]) is None


class TestHead:
    def test_the_models_head_is_the_networks_layer(self):
        model = points_model()
        assert model.head is model.network.head


class TestWeights:
    @pytest.mark.parametrize("value", [torch.nan, torch.inf])
    def test_sampling_refuses_them_before_it_evaluates_anything(self, value):
        model, calls = points_model(), []
        model.network.register_forward_hook(lambda *_: calls.append(1))
        with torch.no_grad():
            model.network.layers[1].bias[0] = value
        with pytest.raises(NonFiniteError, match=r"weight 'network.layers.1.bias'"):
            sample(model, Sampler(), range(2))
        assert calls == []


def test_evaluation_mode_is_restored_part_by_part_also_after_an_error():
    model = GenerativeModel(UNet((1, 8, 8), channels=(8,), dropout=0.5), (1, 8, 8))
    model.train()
    model.network.middle.eval()
    before = [part.training for part in model.modules()]
    with pytest.raises(KeyError), evaluating(model):
        assert not any(part.training for part in model.modules())
        raise KeyError
    assert [part.training for part in model.modules()] == before
    sample(model, Sampler(steps=1), range(1))
    assert [part.training for part in model.modules()] == before


class Constant(nn.Module):
    """Predicts zeros with as many channels as it is told."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels, self.unused = channels, nn.Linear(1, 1)

    def forward(self, x, t, y=None):
        return x.new_zeros(len(x), self.channels, *x.shape[2:])


class TestPredictions:
    @pytest.mark.parametrize("shape, channels", [((1, 4, 4), 3), ((3, 4, 4), 1), ((3, 4, 4), 6)])
    def test_of_other_channels_than_the_states_are_refused(self, shape, channels):
        """Broadcasting would make one channel three, or one state three predictions, without a word."""
        model = GenerativeModel(Constant(channels), shape)
        with pytest.raises(ConfigurationError, match=rf"predicts \(2, {channels}, 4, 4\) for states of .*`call` drop"):
            sample(model, Sampler(steps=1), range(2))

    def test_that_are_no_tensors_are_refused(self):
        model = GenerativeModel(Constant(1), (1, 4, 4), call=lambda network, x, t, y: {"sample": network(x, t)})
        with pytest.raises(ConfigurationError, match="gives a dict, not a tensor"):
            model.guided(torch.zeros(2, 1, 4, 4), torch.zeros(2), None, 1.0)


def images(shape=(3, 4, 4), classes: int = 2) -> ArrayDataset:
    names = [f"class {number}" for number in range(classes)]
    return ArrayDataset(torch.zeros(4, *shape, dtype=torch.uint8), torch.arange(4) % classes, names, "theirs")


class TestData:
    @pytest.mark.parametrize("shape", [(1, 4, 4), (3, 4, 5), (4, 4, 3)])
    def test_of_another_shape_is_refused(self, shape):
        model = GenerativeModel(Constant(3), (3, 4, 4))
        model.check_data(images())
        with pytest.raises(ConfigurationError, match=r"samples of shape \(3, 4, 4\), but theirs has"):
            model.check_data(images(shape))

    @pytest.mark.parametrize("classes", [1, 3])
    def test_with_other_classes_is_refused(self, classes):
        model = GenerativeModel(Constant(3), (3, 4, 4), num_classes=2)
        model.check_data(images())
        with pytest.raises(ConfigurationError, match=f"knows 2 classes, but theirs has {classes}"):
            model.check_data(images(classes=classes))
