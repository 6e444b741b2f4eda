"""The pages of the Batch API."""
