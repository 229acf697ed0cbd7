"""People as annotators: blind items, a page that asks, each annotator's own file of verdicts."""
