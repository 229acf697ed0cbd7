"""Pairs of a policy's own answers, compared by an annotator: the embedded world's, an outside model, or people."""
