"""The Jobs and JobSets that make policies: as they are made, and as they are found. Pure."""
