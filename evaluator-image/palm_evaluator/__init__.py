"""The evaluator Job: one policy's reward vector and its divergence from the base policy."""
