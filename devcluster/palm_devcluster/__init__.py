"""A real Kubernetes cluster for development, made of ordinary processes on loopback."""
