"""JobSet's controller in the embedded cluster: its own manifests, changed where they must be.

Off by default; the CRD is there in any case. It runs as one more process of the cluster, with the
rights of its ServiceAccount. Its webhooks of Pods, which place sets on topologies of their own, are
not called.
"""
