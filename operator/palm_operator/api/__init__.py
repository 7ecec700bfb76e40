"""The Portfolio resource: its models, their CEL rules, and the CRD that is made from them. Pure."""
