"""Applications: what one does with the uncertainty, each beside its honest control.

`filter`, `best_of_n`: choosing among samples; control: random choice at equal N.
`augment`, `rectify`: other states at a cut of the trajectory; control: isotropic noise of equal norm.
`guide`: moving uncertain pixels while sampling; control: more steps at equal cost.
"""

from genuq.applications.augment import Augmentation, Augmented, augment, augmentation_outcome
from genuq.applications.best_of_n import best_of, best_of_n_outcome, candidate_groups
from genuq.applications.cuts import (
    Cut,
    Held,
    cut_samples,
    cut_time,
    drawn_states,
    finish,
    isotropic_states,
    moved_cut,
    renewed_isotropic_states,
    renewed_states,
)
from genuq.applications.filtering import Filter, filter_outcome
from genuq.applications.finished_run import FinishedRun, Made, Sampling
from genuq.applications.guide import Guidance, Guided, guidance_outcome, guide, plain_sampler
from genuq.applications.outcome import Comparison, Judge, Judgement, Outcome, Replicates
from genuq.applications.rectify import (
    Attempts,
    Decision,
    Evidence,
    Rectification,
    Statements,
    attempt,
    chosen,
    decide,
    rectification_outcome,
    score_evidence,
    statements,
    witness_evidence,
)
from genuq.applications.regions import uncertain_region
from genuq.applications.register import APPLICATIONS, ApplicationPart
from genuq.applications.witness_panel import WitnessPanel
from genuq.applications.witnesses import RiseCalibration, Space, Witness, asked, calibrated_rise, fit_witness

__all__ = [
    "APPLICATIONS",
    "ApplicationPart",
    "Attempts",
    "Augmentation",
    "Augmented",
    "Comparison",
    "Cut",
    "Decision",
    "Evidence",
    "Filter",
    "FinishedRun",
    "Guidance",
    "Guided",
    "Held",
    "Judge",
    "Judgement",
    "Made",
    "Outcome",
    "Rectification",
    "Replicates",
    "RiseCalibration",
    "Sampling",
    "Space",
    "Statements",
    "Witness",
    "WitnessPanel",
    "asked",
    "attempt",
    "augment",
    "augmentation_outcome",
    "best_of",
    "best_of_n_outcome",
    "calibrated_rise",
    "candidate_groups",
    "chosen",
    "cut_samples",
    "cut_time",
    "decide",
    "drawn_states",
    "filter_outcome",
    "finish",
    "fit_witness",
    "guidance_outcome",
    "guide",
    "isotropic_states",
    "moved_cut",
    "plain_sampler",
    "rectification_outcome",
    "renewed_isotropic_states",
    "renewed_states",
    "score_evidence",
    "statements",
    "uncertain_region",
    "witness_evidence",
]
