"""Pretrained pipelines of diffusers as models: a folder, or a pipeline object."""

from genuq.pretrained.adapted import PretrainedModel
from genuq.pretrained.bare import from_network
from genuq.pretrained.family import Family
from genuq.pretrained.loading import from_pretrained
from genuq.pretrained.model import from_pipeline
from genuq.pretrained.register import FAMILIES, FamilyPart

__all__ = ["FAMILIES", "Family", "FamilyPart", "PretrainedModel", "from_network", "from_pipeline", "from_pretrained"]
