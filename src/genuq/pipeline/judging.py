"""What looks at samples, each as a record of what it depends on: the likelihood that scores are computed in, and who
judges them: a judge, prompts, the truth.

As in `genuq.pipeline.inputs`, what was opened once is opened for all stages of a run.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genuq import extractors, likelihoods
from genuq.data import Oracle, Truth
from genuq.extractors import Extractor
from genuq.extractors.judge import Judge, classifier_judge, extractor_judge, points_judge
from genuq.identity import identity_of, neutral
from genuq.likelihoods import Likelihood, PointLikelihood
from genuq.pipeline.inputs import DataInputs, PartInputs
from genuq.pipeline.memory import Memory
from genuq.pretrained.clip import ClipModel, clip_score
from genuq.store.upstream import FileContent, Upstream


@dataclass(frozen=True)
class ExtractorInputs:
    """An encoder of images.

    Attributes:
        part: an entry of `genuq.extractors.EXTRACTORS`.
        shape: (C, H, W) of the images.
        checkpoint: its weights where a file of one's own has them.
    """

    part: PartInputs
    shape: tuple[int, ...]
    checkpoint: FileContent | None = None
    name: str = neutral("")  # as the configuration has it: timm knows more names than the register
    memory: Memory = neutral(default_factory=Memory)

    def open(self) -> Extractor:
        own = {} if self.checkpoint is None else {"checkpoint": str(self.checkpoint.path)}
        options = {"image_shape": self.shape, **self.part.options, **own}
        key = ["extractor", self.name, identity_of(self), own]
        return self.memory(key, lambda: extractors.build(self.name, **options))


@dataclass(frozen=True)
class LikelihoodInputs:
    """The likelihood of samples, in whose space the scores are computed.

    Attributes:
        part: an entry of `genuq.likelihoods.LIKELIHOODS`, but for the variance of its observations.
        extractor: where it embeds by one.
        shape: of a sample.
    """

    part: PartInputs
    extractor: ExtractorInputs | None
    shape: tuple[int, ...]

    def build(self, observation_variance: float | None = None) -> Likelihood | PointLikelihood:
        """The likelihood itself.

        Args:
            observation_variance: None leaves it to the draws.

        Raises:
            ConfigurationError: these samples cannot have it.
        """
        extractor = None if self.extractor is None else self.extractor.open
        given = {} if observation_variance is None else {"observation_variance": observation_variance}
        return likelihoods.build(self.part.name, self.shape, extractor, **self.part.options, **given)


@dataclass(frozen=True)
class JudgeInputs:
    """Who judges the samples: one of these three.

    Attributes:
        extractor: in whose space.
        classifier: this run's own training, or the shipped file.
        points: the test set, where samples are points.
    """

    extractor: ExtractorInputs | None = None
    classifier: Upstream | FileContent | None = None
    points: DataInputs | None = None
    memory: Memory = neutral(default_factory=Memory)

    def open(self) -> Judge:
        return self.memory(["judge", identity_of(self)], self._build)

    def _build(self) -> Judge:
        if self.points is not None:
            return points_judge(self.points.test)
        if self.classifier is not None:
            own = isinstance(self.classifier, Upstream)
            return classifier_judge(self.classifier.path / "judge.safetensors" if own else self.classifier.path)
        assert self.extractor is not None
        return extractor_judge(self.extractor.open())


@dataclass(frozen=True)
class PromptInputs:
    """What says how well samples show their prompts.

    Attributes:
        folder: of a CLIP, by content.
        prompts: by the numbers that samples have as classes.
        device: of the CLIP.
    """

    folder: FileContent
    prompts: tuple[str, ...]
    device: torch.device = neutral()
    memory: Memory = neutral(default_factory=Memory)

    def open(self) -> ClipModel:
        """The CLIP.

        Raises:
            ConfigurationError: the folder holds none.
        """
        return self.memory(["clip", self.folder.identity], lambda: ClipModel(self.folder.path))

    def of_prompts(self) -> Tensor:
        """(P, D) embeddings of the prompts."""
        key = ["clip of prompts", self.folder.identity, list(self.prompts)]
        return self.memory(key, lambda: self.open().of_texts(self.prompts, device=self.device))

    def of_images(self, images_NCHW: Tensor) -> Tensor:
        """(N, D) embeddings of uint8 images."""
        return self.open().of_images(images_NCHW, device=self.device)

    def score(self, images_ND: Tensor, classes_N: Tensor) -> Tensor:
        """CLIP score (N,) of embedded images and the prompts that they were asked for with."""
        return clip_score(images_ND, self.of_prompts()[classes_N])


@dataclass(frozen=True)
class TruthInputs:
    """The rules that the data were drawn by, as what says which samples are bad.

    Attributes:
        data: the set that has the oracle.
        bad: faults that count as bad; none: all.
        test: the same set, opened.
    """

    data: PartInputs
    bad: tuple[str, ...]
    test: DataInputs = neutral()

    @property
    def oracle(self) -> Oracle:
        """The oracle itself; `pipeline.preflight` has made sure that there is one."""
        oracle = self.test.test.oracle
        assert oracle is not None
        return oracle

    def of(self, samples: Tensor, classes: Tensor | None) -> Truth:
        """The truth of samples."""
        return self.oracle.truth(samples, classes)

    def bad_in(self, truth: Truth) -> Tensor:
        """bool (N,), the samples that count as bad."""
        chosen = [truth.of(name) for name in self.bad]
        return torch.stack(chosen).any(0) if chosen else ~truth.valid
