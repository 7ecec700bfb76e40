"""What people are told: conditions, Events, and the sentences in them. Pure."""
