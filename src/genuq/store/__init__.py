"""The store: artefacts by the hash of what they depend on, their manifests, and the records of runs."""
