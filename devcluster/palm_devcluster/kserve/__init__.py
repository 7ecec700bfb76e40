"""KServe's controller in the embedded cluster: its own manifests, changed where they must be.

It runs as one more process of the cluster, with the rights of its ServiceAccount. Its webhooks
listen on loopback with a certificate of the cluster; Deployments are its default (mode Standard);
it makes no Ingress, for nothing would serve one.
"""
