"""The running operator: all that talks to the cluster, to S3 or to a clock. Nothing else does."""
