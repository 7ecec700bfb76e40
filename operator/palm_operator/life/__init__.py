"""What a Portfolio's whole life asks for: suspension, pause, deletion and its purge. Pure."""
