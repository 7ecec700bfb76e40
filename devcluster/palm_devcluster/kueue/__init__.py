"""Kueue's controller in the embedded cluster: its own manifests, changed where they must be.

Off by default. It runs as one more process of the cluster, with the rights of its ServiceAccount,
and queues Jobs and JobSets only: no other kind's webhooks are called.
"""
