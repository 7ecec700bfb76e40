"""How the nodes of one training find each other, between the operator and the trainer."""

MAIN_ADDRESS_VARIABLE = "PALM_MAIN_ADDRESS"
"""``host:port`` of the first node, where the others report."""
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
"""By Kubernetes in the Pods of an indexed Job: which node this one is, from 0."""
MAIN_PORT = 29500
