"""Drawing: colours, curves, pictures, numbers and words, for every page."""
