"""Kueue as a component of the cluster."""

from palm_devcluster.configured import ConfiguredController
from palm_devcluster.kueue import manifests

CONTROLLER = ConfiguredController("kueue", manifests)
