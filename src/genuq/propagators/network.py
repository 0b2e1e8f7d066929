"""The network along a trajectory as a propagator sees it: the head's input, derivatives, further evaluations."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor, nn
from torch.func import functional_call

from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel, StageRecord
from genuq.models.guidance import OWN
from genuq.models.offloaded import parameters_of, sources
from genuq.models.precision import precision_of
from genuq.posteriors import Posterior, swapped
from genuq.posteriors.curvature.arrangement import Arrangement
from genuq.posteriors.curvature.head import head_of
from genuq.propagators.derivatives import METHODS, Derivative, along, difference_step, forward_mode


class FollowedNetwork:
    """One batch's network, posterior, classes and guidance.

    The head's input is remembered from the sampler's own forward passes: it costs nothing and changes nothing. With
    an affine guidance it is the guided feature, (1 - s) a_null + s a_class: the head is linear. A second network that
    guides has none: f changes with the head's weights as s times the class's own branch.

    Attributes:
        own: branches that the model's network answers, of all.
        evaluations: forward passes of one sample beyond the sampler's own; guidance doubles them.
    """

    def __init__(self, model: GenerativeModel, posterior: Posterior, guidance: float, y: Tensor | None) -> None:
        self.model, self.posterior, self.guidance, self.y = model, posterior, guidance, y
        self._head = head_of(model.head)
        self.branches = model.branches(guidance)
        self.own = 1 if self.branches == 1 else len(model.require_guidance(guidance).of_the_network)
        self.evaluations = 0.0
        self.arrangement: Arrangement | None = None
        self._raw: Tensor | None = None
        self._watching = False

    @property
    def affine(self) -> bool:
        """Whether f is affine in the predictions of the branches."""
        return self.branches == 1 or self.model.require_guidance(self.guidance).affine

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Remember the head's input inside."""
        handle = self.model.head.register_forward_hook(self._remember)
        self._watching = True
        try:
            yield
        finally:
            handle.remove()

    def _remember(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not self._watching:
            return
        if self._raw is not None:
            raise ConfigurationError("model.head runs more than once in a forward pass; choose a layer that runs once.")
        # a copy: the network may go on in what it gave, h += head(h)
        self._raw, self._output = inputs[0].detach().clone(), output.detach()[:1]

    @contextlib.contextmanager
    def at(self, record: StageRecord) -> Iterator[None]:
        """At one stage: own evaluations inside are not watched; the next stage starts afresh."""
        self.record, self._watching = record, False
        self._features: Tensor | None = None
        try:
            yield
        finally:
            self._raw, self._watching = None, True

    @property
    def features(self) -> Tensor:
        """The (guided) head input of this stage, in the precision that the network computes it in, at least float32.

        Raises:
            ConfigurationError: the forward pass does not reach the head, or gives it other rows than images.
        """
        if self._features is None:
            self._features = self._guided_features()
        return self._features

    def _guided_features(self) -> Tensor:
        raw = self._branch_features()
        if self.own == 1:
            return raw
        return self.model.require_guidance(self.guidance)(raw.chunk(self.own), self.guidance, self._times(raw))

    @property
    def _gain(self) -> float:
        """What the guidance multiplies f of the features by: the weight of the own branch beside a second network's."""
        if self.own == self.branches:
            return 1.0
        guidance = self.model.require_guidance(self.guidance)
        assert guidance.weights is not None and self.own == 1, "one branch beside the second network"
        weights = guidance.weights(self.guidance, self.record.states[0].new_full((1,), self.record.stage.t))
        return weights[guidance.branches.index(OWN)]

    def _times(self, raw: Tensor) -> Tensor:
        return torch.full((len(raw) // self.own,), self.record.stage.t, device=raw.device, dtype=raw.dtype)

    def _branch_features(self) -> Tensor:
        """The head's input, branch after branch."""
        rows, name = self.own * len(self.record.result), self.model.head_name
        if self._raw is None:
            raise ConfigurationError(f"the forward pass never reached model.head = '{name}'.")
        if len(self._raw) != rows:
            raise ConfigurationError(
                f"model.head = '{name}' sees {len(self._raw)} rows for {rows} images; its input must be (B, ..., C)."
            )
        return self._raw if self._raw.dtype == torch.float64 else self._raw.float()

    def predict(self, x: Tensor) -> Tensor:
        """f at other states of this stage's time, one more evaluation."""
        self.evaluations += self.branches
        return self._predict(x.to(self.record.result.dtype))

    def _predict(self, x: Tensor) -> Tensor:
        y = None if self.y is None else self.y[: len(x)]
        t = torch.full((len(x),), self.record.stage.t, device=x.device, dtype=x.dtype)
        return self.model.guided(x, t, y, self.guidance, self.record.stage.network_times(x))

    def along(self, direction: Tensor, method: Derivative) -> Tensor:
        """J u: the derivative of f at the sampler's state in the direction u, float64."""
        self.evaluations += METHODS[method] * self.branches
        x, value = self.record.states[0], self.record.predictions[0]
        return along(self._predict, x, value, direction, method, precision_of(self.model.network))

    def along_with_weights(self, direction: Tensor, weights: Mapping[str, Tensor], method: Derivative) -> Tensor:
        """J u + (df/dw) v, float64, for deviations v of the posterior's parameters by name."""
        self.evaluations += METHODS[method] * self.branches
        x, module = self.record.states[0], self.posterior.module
        if method == "forward":
            self._require_in_place(weights)
            return self._tangent(x, direction, weights)
        trained = {name: value.detach() for name, value in parameters_of(module, weights).items()}
        step = difference_step(trained.values(), weights.values(), precision_of(self.model.network))
        with swapped(module, {name: trained[name] + step * weights[name] for name in weights}):
            moved = self._predict((x.double() + step * direction).to(x.dtype))
        return (moved.double() - self.record.predictions[0].double()) / step

    def _require_in_place(self, weights: Mapping[str, Tensor]) -> None:
        """Refuse tangents of weights that hooks bring, which would bring them without."""
        if weights.keys() & sources(self.posterior.module).keys():
            raise ConfigurationError(
                "propagator.derivative = 'forward' needs weights that stay in place, and the network is offloaded: set "
                "propagator.derivative=difference."
            )

    def _tangent(self, x: Tensor, direction: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        whole, module = _Callable(self), self.posterior.module
        names = {id(value): name for name, value in whole.named_parameters()}

        def evaluate() -> Tensor:
            trained = {name: module.get_parameter(name).detach() for name in weights}
            duals = {
                names[id(module.get_parameter(name))]: forward_ad.make_dual(trained[name], deviation.to(trained[name]))
                for name, deviation in weights.items()
            }
            return functional_call(whole, duals, (forward_ad.make_dual(x, direction.to(x)),))

        return forward_mode(evaluate, like=x)

    def predictive_variance(self, features: Tensor | None = None) -> Tensor:
        """Var f of every pixel under the posterior, float64, for this stage's features or others."""
        found = self.posterior.predictive_variance(self.features if features is None else features)
        return self._arranged(self._gain**2 * found)

    def variance_of_independent_branches(self) -> Tensor:
        """The same as if each branch of the guidance had weights of its own: sum_i w_i^2 Var f_i."""
        raw = self._branch_features()
        if self.own == 1:
            return self.predictive_variance()
        guidance = self.model.require_guidance(self.guidance)
        assert guidance.weights is not None  # `require_affine_guidance`
        weights = guidance.weights(self.guidance, self._times(raw))
        parts = [self.posterior.predictive_variance(part) for part in raw.chunk(self.own)]
        squared = [weight**2 * part for weight, part in zip(weights, parts)]
        return self._arranged(torch.stack(squared).sum(0))

    def deviation(self, matrix_OK: Tensor) -> Tensor:
        """Change of f for a change of the head's weights, float64."""
        return self._arranged(self._gain * self._head.project(self.features, matrix_OK.to(self.features))).double()

    def _arranged(self, values: Tensor) -> Tensor:
        if self.arrangement is None:
            x = self.record.states[0][:1]
            t = torch.full((1,), self.record.stage.t, device=x.device, dtype=x.dtype)
            y = None if self.y is None else self.y[:1]
            told = self.record.stage.network_times(x)
            self.arrangement = Arrangement(self.model.head, self._output, lambda: self.model.predicted(x, t, y, told))
            self.evaluations += self.arrangement.passes / len(self.record.result)
        return self.arrangement(values)


class _Callable(nn.Module):
    """The guided prediction as a module, for `functional_call`."""

    def __init__(self, network: FollowedNetwork) -> None:
        super().__init__()
        self.model = network.model
        self._evaluate = network._predict

    def forward(self, x: Tensor) -> Tensor:
        return self._evaluate(x)
