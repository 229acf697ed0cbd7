"""Trees of segments, packed into forest batches and taken step by step."""
