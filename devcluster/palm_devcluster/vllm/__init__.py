"""vLLM on a CPU as a runtime of the embedded cluster, in a Python environment of its own.

Its versions of what the project uses too are not the project's, and it needs 3 GB: so it is made
once, into the cache outside the tree, by ``python -m palm_devcluster.vllm``, and only where its
build of torch can be had. Where it is not there, ``server`` says so and serves the same models with
transformers.
"""
