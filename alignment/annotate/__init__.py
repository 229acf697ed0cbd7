"""Pairs of a policy's own answers, compared by an annotator: the embedded world's people, an outside model, or people."""
