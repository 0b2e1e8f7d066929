"""genuq: generative uncertainty quantification for diffusion and flow-matching models.

Shape legend, used as suffixes where tensors of several kinds meet:
    B batch, N samples, R real reference images, M weight draws, T solver steps,
    C H W image channels, height, width, O head outputs, P output positions, K head inputs (with bias), D features.

Imports go one way: data, networks, processes, solvers, models, posteriors, extractors, likelihoods, scores,
metrics, analysis, report, stages.
"""

__version__ = "0.1.0"
