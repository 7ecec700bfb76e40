"""The portfolio of policies: which survive, what is guaranteed, and the manifest of it. Pure."""
