"""JobSet as a component of the cluster."""

from palm_devcluster.configured import ConfiguredController
from palm_devcluster.jobset import manifests

CONTROLLER = ConfiguredController("jobset", manifests)
