"""The Services of the embedded cluster on one port: ``http://127.0.0.1:PORT/NAMESPACE/SERVICE/…``.

A Service of Kubernetes is a name and an address that every node forwards. An ordinary user can
give neither here: names need a resolver, port 80 needs a privilege, and the API server takes no
loopback address as an endpoint. This proxy follows Services and Pods and forwards each request to
a Pod that is Ready, as kube-proxy would a connection.
"""
