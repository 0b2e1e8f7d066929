"""What a run or a sweep will take before it starts: artefacts, network evaluations, time, disk."""
