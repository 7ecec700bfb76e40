"""Routes each request to the policy that is best for its preference (OpenAI-compatible)."""
