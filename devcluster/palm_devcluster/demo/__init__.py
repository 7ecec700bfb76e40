"""The main job end to end on the embedded cluster: what ``make demo`` runs."""
