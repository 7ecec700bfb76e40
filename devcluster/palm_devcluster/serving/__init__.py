"""Local commands that stand for KServe's images on the process node.

``initializer`` downloads a model as KServe's storage initializer does; ``server`` is an
OpenAI-compatible server for it: the application of ``transformers serve``, with models under names
of one's own and LoRA adapters. They are development tools, as the process node is.
"""
